// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/system/json_file.h"

#include <nlohmann/json.hpp>

#include "daemon/system/atomic_file.h"

namespace connd::daemon {

using nlohmann::json;

namespace {
constexpr int kVersion = 1;
}

Failure JsonFile::damaged(const std::string& why) const {
  return failure(std::errc::illegal_byte_sequence,
                 path + ": is damaged (" + why + "); restore it from a backup, or move it away to start without it");
}

Failure JsonFile::too_many() const {
  return failure(std::errc::no_buffer_space,
                 path + ": at most " + std::to_string(max_entries) + " entries fit; remove some");
}

Outcome<json> JsonFile::load() const {
  const auto bytes = read_bounded(path, max_bytes);
  if (!bytes) return bytes.failure();
  if (!*bytes) return json(json::array());
  json document = json::parse((*bytes)->begin(), (*bytes)->end(), nullptr, /*allow_exceptions=*/false);
  if (!document.is_object()) return damaged("not a JSON object");
  const auto version = document.find("v");
  if (version == document.end() || !version->is_number_integer()) return damaged("no version");
  if (*version != kVersion) {
    return failure(std::errc::not_supported, path + ": is of version " + version->dump() +
                                                 ", this jami-connd knows 1; use the jami-connd that wrote it");
  }
  const auto entries = document.find(list);
  if (entries == document.end() || !entries->is_array()) return damaged("no list of " + list);
  for (const auto& [name, value] : document.items()) {
    if (name == "v" || name == list) continue;
    return failure(
        std::errc::not_supported,
        path + ": has '" + name + "', which this jami-connd does not know; use the jami-connd that wrote it");
  }
  if (entries->size() > max_entries) return damaged("more than " + std::to_string(max_entries) + " entries");
  return std::move(*entries);
}

Outcome<void> JsonFile::save(json entries) const {
  if (entries.size() > max_entries) return too_many();
  const json document{{"v", kVersion}, {list, std::move(entries)}};
  // All strings in it are our own hex and ASCII names; `replace` only keeps dump from throwing.
  const std::string text = document.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
  if (text.size() > max_bytes) {
    return failure(std::errc::file_too_large,
                   path + ": would be longer than " + std::to_string(max_bytes) + " bytes; remove some entries");
  }
  return write_atomically(path, proto::as_bytes(text), 0600);
}

}  // namespace connd::daemon
