// SPDX-License-Identifier: GPL-3.0-or-later OR MIT
#include "ipc/members.h"

#include <algorithm>

namespace connd::ipc {
namespace {

constexpr std::size_t kAccountIdDigits = 40;

/// Shortest form: no ".0" behind a whole bound.
std::string shown(double bound) {
  return Json(bound == std::floor(bound) ? Json(static_cast<std::uint64_t>(bound)) : Json(bound)).dump();
}

}  // namespace

MemberReader::MemberReader(const Json& object, Unknown unknown, std::string path)
    : object_(object), unknown_(unknown), path_(std::move(path)) {}

const Json* MemberReader::find(const char* name, bool required) {
  if (error_) return nullptr;
  if (!object_.is_object()) {
    error_ = make_rpc_error(kInvalidParams, "expected an object");
    return nullptr;
  }
  names_.emplace_back(name);
  const auto it = object_.find(name);
  if (it != object_.end()) {
    ++found_;
    return &*it;
  }
  if (required) fail(name, "missing");
  return nullptr;
}

void MemberReader::fail(std::string_view name, std::string_view text) {
  if (error_) return;
  error_ = make_rpc_error(kInvalidParams, path_ + std::string(name) + ": " + std::string(text));
}

void MemberReader::fail_bounds(std::string_view name, std::string_view what, Bounds bounds) {
  std::string text = "expected " + shown(bounds.min) + " to " + shown(bounds.max);
  if (!what.empty()) text += " " + std::string(what);
  fail(name, text);
}

/// Of one length alone are ids, and the other kind of id is what is given most often instead.
void MemberReader::fail_id(std::string_view name, const std::string& text, Bounds bounds) {
  const bool hex = text.find_first_not_of("0123456789abcdefABCDEF") == std::string::npos;
  std::string what = "expected " + shown(bounds.min) + " hexadecimal digits";
  if (hex && text.size() == kAccountIdDigits) {
    what += "; this has " + std::to_string(kAccountIdDigits) + ", as the id of an account or CA";
  } else {
    what += "; this has " + std::to_string(text.size()) + (hex ? "" : " characters");
  }
  fail(name, what);
}

void MemberReader::read(const char* name, const Json& value, std::string& out, Bounds bounds) {
  if (!value.is_string()) return fail(name, "expected a string");
  const auto& text = value.get_ref<const std::string&>();
  const auto size = static_cast<double>(text.size());
  if (size < bounds.min || size > bounds.max) {
    return bounds.min == bounds.max ? fail_id(name, text, bounds) : fail_bounds(name, "bytes", bounds);
  }
  out = text;
}

void MemberReader::read(const char* name, const Json& value, bool& out, Bounds) {
  if (!value.is_boolean()) return fail(name, "expected true or false");
  out = value.get<bool>();
}

void MemberReader::read(const char* name, const Json& value, std::uint64_t& out, Bounds bounds) {
  // A number literal that is written as a negative or a fraction is of another kind in the JSON library.
  if (!value.is_number_unsigned()) return fail(name, "expected a whole number, not negative");
  const auto number = value.get<std::uint64_t>();
  if (number < static_cast<std::uint64_t>(bounds.min) || number > static_cast<std::uint64_t>(bounds.max)) {
    return fail_bounds(name, {}, bounds);
  }
  out = number;
}

void MemberReader::read(const char* name, const Json& value, double& out, Bounds bounds) {
  if (!value.is_number()) return fail(name, "expected a number");
  const auto number = value.get<double>();
  if (!(number >= bounds.min && number <= bounds.max)) return fail_bounds(name, {}, bounds);
  out = number;
}

void MemberReader::read(const char* name, const Json& value, Reason& out, Bounds) {
  if (!value.is_string()) return fail(name, "expected a reason");
  // A newer daemon may have reasons that this reader does not know: an end it is, and not a clean one.
  out = proto::reason_from_name(value.get_ref<const std::string&>()).value_or(Reason::kInternal);
}

void MemberReader::read(const char*, const Json& value, Json& out, Bounds) {
  out = value;
}

Outcome<void> MemberReader::finish() {
  if (!error_ && !object_.is_object()) error_ = make_rpc_error(kInvalidParams, "expected an object");
  if (!error_ && unknown_ == Unknown::kRefuse && found_ < object_.size()) {
    for (const auto& [name, value] : object_.items()) {
      if (std::find(names_.begin(), names_.end(), name) != names_.end()) continue;
      error_ = make_rpc_error(kInvalidParams, path_ + "unknown member '" + name.substr(0, kMaxNameBytes) + "'");
      break;
    }
  }
  if (error_) return *error_;
  return {};
}

Json MemberSchema::take() {
  Json out = {{"type", "object"}, {"properties", std::move(properties_)}};
  if (!required_.empty()) out["required"] = std::move(required_);
  return out;
}

Json MemberSchema::string_schema(Bounds bounds) {
  // maxLength counts characters, our bounds bytes: as an upper bound it holds.
  Json out = {{"type", "string"}, {"maxLength", count(bounds.max)}};
  if (bounds.min > 0) out["minLength"] = 1;
  return out;
}

Json MemberSchema::number_schema(const char* type, Bounds bounds) {
  if (std::string_view(type) == "integer") {
    return {{"type", type}, {"minimum", count(bounds.min)}, {"maximum", count(bounds.max)}};
  }
  return {{"type", type}, {"minimum", bounds.min}, {"maximum", bounds.max}};
}

Json MemberSchema::reason_schema() {
  Json names = Json::array();
  for (const proto::ReasonInfo& info : proto::kReasons) names.push_back(info.name);
  return {{"type", "string"}, {"enum", std::move(names)}};
}

}  // namespace connd::ipc
