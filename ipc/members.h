// SPDX-License-Identifier: GPL-3.0-or-later OR MIT
/// Members of JSON objects, declared once per struct and used in three directions: read with clear errors, written, and
/// described as JSON Schema.
///
/// A struct of the API has a static function template `fields(io, self)` that names its members in order:
///
///     template <class Io, class Self>
///     static void fields(Io& io, Self& self) {
///       io.required("uri", self.uri, Bounds{0, kMaxUriBytes});
///       io.optional("timeout", self.timeout, Bounds{kMinTimeout, kMaxTimeout});
///     }
///
/// A required member must be there. An optional one keeps the value it has in a fresh struct when it is absent; a
/// std::optional member is written only when it is set. null is never a value. Bounds are the length in bytes of a
/// string, the number of items of an array, the value of a number.
#pragma once

#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "ipc/error.h"
#include "ipc/limits.h"
#include "ipc/message.h"

namespace connd::ipc {

struct Bounds {
  double min = 0;
  double max = 0;
};

/// Names of the values of an enum; specialise it with `static constexpr std::array<std::pair<std::string_view, E>,
/// N> kValues`, in any order: the schema shows them in it.
template <class E>
struct EnumNames;

template <class E>
std::string_view enum_name(E value) {
  for (const auto& [name, v] : EnumNames<E>::kValues) {
    if (v == value) return name;
  }
  return {};
}

template <class T>
struct IsVector : std::false_type {};
template <class T>
struct IsVector<std::vector<T>> : std::true_type {};

/// Usual bounds of a type, where a member states none.
template <class T>
constexpr Bounds default_bounds() {
  if constexpr (std::is_same_v<T, std::string>) return {0, kMaxTextBytes};
  if constexpr (IsVector<T>::value) return {0, kMaxListItems};
  if constexpr (std::is_floating_point_v<T>) return {0, static_cast<double>(kMaxSafeInteger)};
  return {0, static_cast<double>(kMaxSafeInteger)};
}

/// Reads the members of one object. Sticky like ByteReader: after the first error nothing more is read; ask `finish`
/// once at the end.
class MemberReader {
 public:
  /// kRefuse: a member that nobody asked for is an error, which catches typing errors in params. kIgnore: for results
  /// and notifications, to which a newer daemon may add members.
  enum class Unknown { kRefuse, kIgnore };

  /// `object` must outlive the reader. `path` is put before the names in errors, such as "peers[3].".
  MemberReader(const Json& object, Unknown unknown, std::string path = {});

  template <class T>
  void required(const char* name, T& out, Bounds bounds = default_bounds<T>()) {
    if (const Json* value = find(name, true)) read(name, *value, out, bounds);
  }
  template <class T>
  void optional(const char* name, T& out, Bounds bounds = default_bounds<T>()) {
    if (const Json* value = find(name, false)) read(name, *value, out, bounds);
  }
  template <class T>
  void optional(const char* name, std::optional<T>& out, Bounds bounds = default_bounds<T>()) {
    if (const Json* value = find(name, false)) read(name, *value, out.emplace(), bounds);
  }

  /// The first error: code -32602, message such as "uri: expected a string". Success otherwise.
  [[nodiscard]] Outcome<void> finish();

 private:
  const Json* find(const char* name, bool required);
  void fail(std::string_view name, std::string_view text);
  void fail_id(std::string_view name, const std::string& text, Bounds bounds);
  void fail_bounds(std::string_view name, std::string_view what, Bounds bounds);

  void read(const char* name, const Json& value, std::string& out, Bounds bounds);
  void read(const char* name, const Json& value, bool& out, Bounds bounds);
  void read(const char* name, const Json& value, std::uint64_t& out, Bounds bounds);
  void read(const char* name, const Json& value, double& out, Bounds bounds);
  void read(const char* name, const Json& value, Reason& out, Bounds bounds);
  void read(const char* name, const Json& value, Json& out, Bounds bounds);
  template <class T>
  void read(const char* name, const Json& value, std::vector<T>& out, Bounds bounds) {
    if (!value.is_array()) return fail(name, "expected an array");
    if (static_cast<double>(value.size()) > bounds.max) return fail_bounds(name, "items", bounds);
    out.clear();
    for (const Json& item : value) {
      const std::string item_name = std::string(name) + "[" + std::to_string(out.size()) + "]";
      read(item_name.c_str(), item, out.emplace_back(), default_bounds<T>());
      if (error_) return;
    }
  }
  template <class T>
  void read(const char* name, const Json& value, T& out, Bounds) {
    if constexpr (std::is_enum_v<T>) {
      return read_enum(name, value, out);
    } else {
      read_object(name, value, out);
    }
  }
  template <class T>
  void read_enum(const char* name, const Json& value, T& out) {
    std::string names;
    for (const auto& [text, v] : EnumNames<T>::kValues) {
      if (value.is_string() && value.get_ref<const std::string&>() == text) {
        out = v;
        return;
      }
      names += (names.empty() ? "\"" : " or \"") + std::string(text) + "\"";
    }
    fail(name, "expected " + names);
  }
  template <class T>
  void read_object(const char* name, const Json& value, T& out) {
    MemberReader inner(value, unknown_, path_ + name + ".");
    if (!value.is_object()) return fail(name, "expected an object");
    T::fields(inner, out);
    auto end = inner.finish();
    if (!end) error_ = end.error();
  }

  const Json& object_;
  Unknown unknown_;
  std::string path_;
  std::size_t found_ = 0;
  std::vector<std::string_view> names_;
  std::optional<Error> error_;
};

/// Writes the members of one object. Bounds are the reader's business.
class MemberWriter {
 public:
  template <class T>
  void required(const char* name, const T& value, Bounds = {}) {
    object_[name] = written(value);
  }
  template <class T>
  void optional(const char* name, const T& value, Bounds = {}) {
    object_[name] = written(value);
  }
  template <class T>
  void optional(const char* name, const std::optional<T>& value, Bounds = {}) {
    if (value) object_[name] = written(*value);
  }
  [[nodiscard]] Json take() { return std::move(object_); }

 private:
  template <class T>
  static Json written(const T& value) {
    if constexpr (std::is_same_v<T, Reason>) {
      return proto::reason_name(value);
    } else if constexpr (std::is_enum_v<T>) {
      return enum_name(value);
    } else if constexpr (IsVector<T>::value) {
      Json out = Json::array();
      for (const auto& item : value) out.push_back(written(item));
      return out;
    } else if constexpr (std::is_constructible_v<Json, const T&>) {
      return value;
    } else {
      MemberWriter inner;
      T::fields(inner, value);
      return inner.take();
    }
  }

  Json object_ = Json::object();
};

/// Describes the members of one struct as a JSON Schema (2020-12).
class MemberSchema {
 public:
  template <class T>
  void required(const char* name, const T&, Bounds bounds = default_bounds<T>()) {
    properties_[name] = schema<T>(bounds);
    required_.push_back(name);
  }
  template <class T>
  void optional(const char* name, const T&, Bounds bounds = default_bounds<T>()) {
    properties_[name] = schema<T>(bounds);
  }
  template <class T>
  void optional(const char* name, const std::optional<T>&, Bounds bounds = default_bounds<T>()) {
    properties_[name] = schema<T>(bounds);
  }
  [[nodiscard]] Json take();

 private:
  static Json string_schema(Bounds bounds);
  static Json number_schema(const char* type, Bounds bounds);
  static Json reason_schema();
  template <class T>
  static Json enum_schema() {
    Json names = Json::array();
    for (const auto& [name, value] : EnumNames<T>::kValues) names.push_back(name);
    return {{"type", "string"}, {"enum", std::move(names)}};
  }
  template <class T>
  static Json schema(Bounds bounds) {
    if constexpr (std::is_same_v<T, std::string>) {
      return string_schema(bounds);
    } else if constexpr (std::is_same_v<T, bool>) {
      return {{"type", "boolean"}};
    } else if constexpr (std::is_same_v<T, std::uint64_t>) {
      return number_schema("integer", bounds);
    } else if constexpr (std::is_same_v<T, double>) {
      return number_schema("number", bounds);
    } else if constexpr (std::is_same_v<T, Reason>) {
      return reason_schema();
    } else if constexpr (std::is_enum_v<T>) {
      return enum_schema<T>();
    } else if constexpr (std::is_same_v<T, Json>) {
      return Json::object();
    } else if constexpr (IsVector<T>::value) {
      using Item = typename T::value_type;
      return {{"type", "array"}, {"items", schema<Item>(default_bounds<Item>())}, {"maxItems", count(bounds.max)}};
    } else {
      MemberSchema inner;
      const T fresh{};
      T::fields(inner, fresh);
      return inner.take();
    }
  }
  static std::uint64_t count(double bound) { return static_cast<std::uint64_t>(bound); }

  Json properties_ = Json::object();
  Json required_ = Json::array();
};

/// A struct from an object's members. The error is -32602 and names the member.
template <class T>
Outcome<T> read_members(const Json& object, MemberReader::Unknown unknown) {
  T out{};
  MemberReader reader(object, unknown);
  T::fields(reader, out);
  auto end = reader.finish();
  if (!end) return end.error();
  return out;
}
/// The daemon's reading of params: a typing error in a member's name is an error, not silence.
template <class T>
Outcome<T> read_params(const Json& params) {
  return read_members<T>(params, MemberReader::Unknown::kRefuse);
}
/// The client's reading of what a newer daemon may have sent.
template <class T>
Outcome<T> read_result(const Json& result) {
  return read_members<T>(result, MemberReader::Unknown::kIgnore);
}
template <class T>
Json write_members(const T& value) {
  MemberWriter writer;
  T::fields(writer, value);
  return writer.take();
}
template <class T>
Json schema_of() {
  MemberSchema schema;
  const T fresh{};
  T::fields(schema, fresh);
  return schema.take();
}

}  // namespace connd::ipc
