// SPDX-License-Identifier: GPL-3.0-or-later
/// The whole command line: of the program, of its manual page, and of the shells' completions.
#pragma once

#include "tools/ctl_context.h"

namespace connd::tools {

inline constexpr const char* kProgram = "jami-connctl";
inline constexpr const char* kSummary = "jami-connctl: the command line of jami-connd, the connection manager";

/// Both outlive the parsing, and `context.run`.
void add_grammar(CLI::App& app, Context& context);

/// Parses the arguments (without the program's name), and runs the verb that they choose. Gives the exit code.
int run_command_line(std::vector<std::string> args, Context& context);

}  // namespace connd::tools
