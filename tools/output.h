// SPDX-License-Identifier: GPL-3.0-or-later
/// What the verbs print: aligned tables and lists for people, one JSON object per line for programs. No colour.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ipc/message.h"

namespace connd::tools {

/// `text` as a terminal may safely show it: bytes that are no UTF-8, control characters, those that turn the order of
/// what follows, and '\' are \xHH. Names and texts come from peers.
[[nodiscard]] std::string printable(std::string_view text);
/// True if no character in it is a control character or turns the order of what follows, also for a terminal that knows
/// no UTF-8 (bytes 80 to 9F that are part of no character).
[[nodiscard]] bool is_plain(std::string_view text);
/// "1.5 MB", "12 s", "3 h 5 min".
[[nodiscard]] std::string human_bytes(std::uint64_t bytes);
[[nodiscard]] std::string human_age(double seconds);

/// Columns are as wide as their widest cell, two spaces apart; the last is not padded. Nothing for no rows but the
/// heading, so that a script may always skip one line.
void print_table(const std::vector<std::string>& heading, const std::vector<std::vector<std::string>>& rows);
/// "name: value" lines, values aligned.
void print_fields(const std::vector<std::pair<std::string, std::string>>& fields);
/// JSON in ASCII alone, DEL escaped too, so that a terminal obeys nothing in it.
[[nodiscard]] std::string json_text(const ipc::Json& value);
/// The same as one line on stdout.
void print_json(const ipc::Json& value);
/// Writes stdout out. False, with errno, when it could not take all.
[[nodiscard]] bool flush_stdout();
/// What to say of it.
[[nodiscard]] std::string cannot_write(int error);

}  // namespace connd::tools
