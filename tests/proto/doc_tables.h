// SPDX-License-Identifier: GPL-3.0-or-later
/// Reads the marked tables of proto/PROTOCOL.md, for tests that hold them against the code. CONND_PROTO_SOURCES is
/// where it is; CONND_COMPAT_VECTORS is the file with the vectors of versions that have landed.
#pragma once

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

namespace connd::test {

using Row = std::vector<std::string>;

inline const std::string kDocument = std::string(CONND_PROTO_SOURCES) + "/PROTOCOL.md";

inline std::vector<std::string> lines_of(const std::string& path) {
  std::ifstream file(path);
  REQUIRE(file.good());
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

inline Row cells_of(const std::string& line) {
  Row cells;
  std::istringstream rest(line.substr(1));
  for (std::string cell; std::getline(rest, cell, '|');) {
    const std::size_t first = cell.find_first_not_of(' ');
    const std::size_t last = cell.find_last_not_of(' ');
    cells.push_back(first == std::string::npos ? "" : cell.substr(first, last - first + 1));
  }
  return cells;
}

/// The rows, without the head, of every table behind the mark `<!-- MARK -->`.
inline std::vector<Row> rows_in(const std::string& path, const std::string& mark) {
  std::vector<Row> rows;
  bool marked = false;
  int table_lines = 0;
  for (const std::string& line : lines_of(path)) {
    if (line == "<!-- " + mark + " -->") {
      marked = true;
      table_lines = 0;
    } else if (marked && line.starts_with('|')) {
      if (++table_lines > 2) rows.push_back(cells_of(line));
    } else if (table_lines > 0) {
      marked = false;
    }
  }
  return rows;
}

/// Of the document; vectors also of versions that have landed: what they write is read, and they read what is written.
inline std::vector<Row> rows_of(const std::string& mark) {
  std::vector<Row> rows = rows_in(kDocument, mark);
  REQUIRE_FALSE(rows.empty());
  if (mark.starts_with("vectors: ")) {
    const auto former = rows_in(CONND_COMPAT_VECTORS, mark);
    rows.insert(rows.end(), former.begin(), former.end());
  }
  return rows;
}

/// What stands in the first pair of backquotes.
inline std::string code_in(const std::string& cell) {
  const std::size_t from = cell.find('`');
  REQUIRE(from != std::string::npos);
  return cell.substr(from + 1, cell.find('`', from + 1) - from - 1);
}

}  // namespace connd::test
