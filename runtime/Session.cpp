//===- Session.cpp - one sequence of tokens and what the model makes of it ---------===//

#include "runtime/Session.h"
#include "runtime/Error.h"

using namespace sluice::runtime;

Session::Session(const Model &model, Engine &engine) : model(model), engine(engine) { ids.reserve(context()); }

std::string Session::remedy() const {
  const uint64_t most = model.description().context_length;
  return context() < most ? "shorten the text or raise -c (at most " + std::to_string(most) + ")"
                          : "shorten the text: the file was made for no more";
}

void Session::check(std::span<const int32_t> newIds) const {
  if (newIds.size() > context() - position())
    throw Error(std::to_string(position() + newIds.size()) + " tokens do not fit the context of " +
                std::to_string(context()) + "; " + remedy());
  for (int32_t id : newIds)
    if (id < 0 || uint32_t(id) >= vocabulary())
      throw Error("expected token ids from 0 to " + std::to_string(vocabulary() - 1) + ", got " + std::to_string(id));
}

void Session::decode(int32_t id) {
  check({&id, 1});
  engine.run(SLUICE_PROGRAM_DECODE, {&id, 1}, position(), 0);
  model.checkUnchanged();
  lastToken = 0;
  ids.push_back(id);
}

bool Session::prefill(std::span<const int32_t> newIds, Logits wanted, const Row &row) {
  check(newIds);
  for (uint64_t at = 0; at < newIds.size();) {
    if (stop && *stop)
      return false;
    std::span<const int32_t> part = newIds.subspan(at, std::min(chunkTokens(), newIds.size() - at));
    bool final = at + part.size() == newIds.size();
    engine.run(SLUICE_PROGRAM_PREFILL, part, position(),
               wanted == Logits::All             ? 0
               : wanted == Logits::Last && final ? part.size() - 1
                                                 : part.size());
    model.checkUnchanged();
    ids.insert(ids.end(), part.begin(), part.end());
    if (wanted == Logits::All)
      for (uint64_t token = 0; token < part.size(); ++token)
        row(at + token, engine.logits(token));
    lastToken = part.size() - 1;
    at += part.size();
  }
  return true;
}
