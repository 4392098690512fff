//===- Json.cpp - the JSON files of a Hugging Face folder ------------------------------===//

#include "compiler/import/Json.h"
#include <set>

using namespace sluice;

llvm::Expected<Json> sluice::parseJsonObject(llvm::StringRef text) {
  constexpr int deepest = 64;
  std::string problem;
  std::vector<std::set<std::string>> keys; // of the objects that are open
  auto watch = [&](int depth, Json::parse_event_t event, Json &value) {
    if (depth > deepest && problem.empty())
      problem = "it is nested more than " + std::to_string(deepest) + " deep";
    if (event == Json::parse_event_t::object_start)
      keys.emplace_back();
    else if (event == Json::parse_event_t::object_end && !keys.empty())
      keys.pop_back();
    else if (event == Json::parse_event_t::key && problem.empty() && !keys.empty() &&
             !keys.back().insert(value.get<std::string>()).second)
      problem = "key '" + value.get<std::string>() + "' appears twice";
    return problem.empty();
  };
  Json json;
  try {
    json = Json::parse(text.begin(), text.end(), watch);
  } catch (const Json::exception &error) {
    if (problem.empty())
      problem = error.what();
  }
  if (problem.empty() && !json.is_object())
    problem = "expected a JSON object";
  if (!problem.empty())
    return llvm::createStringError(problem);
  return json;
}
