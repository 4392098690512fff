//===- TemplateJson.cpp - template values from JSON -----------------------------------------===//

#include "runtime/TemplateJson.h"
#include <nlohmann/json.hpp>

using namespace sluice;
using Json = nlohmann::ordered_json;

static TemplateValue convert(const Json &json) {
  switch (json.type()) {
  case Json::value_t::null:
    return TemplateValue::None();
  case Json::value_t::boolean:
    return json.get<bool>();
  case Json::value_t::number_integer:
    return json.get<int64_t>();
  case Json::value_t::number_unsigned:
    return json.get<uint64_t>() <= uint64_t(INT64_MAX) ? TemplateValue(json.get<int64_t>())
                                                       : TemplateValue(json.get<double>());
  case Json::value_t::number_float:
    return json.get<double>();
  case Json::value_t::string:
    return json.get<std::string>();
  case Json::value_t::array: {
    TemplateList items;
    for (const Json &item : json)
      items.push_back(convert(item));
    return TemplateValue::list(std::move(items));
  }
  case Json::value_t::object: {
    TemplateDict entries;
    for (const auto &[key, value] : json.items())
      entries.emplace_back(key, convert(value));
    return TemplateValue::dict(std::move(entries));
  }
  default:
    return TemplateValue();
  }
}

TemplateValue sluice::templateValueOfJson(std::string_view text) {
  try {
    return convert(Json::parse(text));
  } catch (const Json::exception &error) {
    throw std::runtime_error(error.what());
  }
}
