// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/settings/config.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include <catch2/catch.hpp>
#include <sys/stat.h>

#include "daemon/settings/options.h"
#include "tests/daemon/temp_dir.h"

using namespace connd::daemon;
using namespace connd::test;
using std::chrono::seconds;

namespace {

std::variant<Config, CommandLineExit> read_all(const std::vector<std::string>& arguments, const Environment& from) {
  auto given = parse_command_line(arguments);
  if (const auto* exit = std::get_if<CommandLineExit>(&given)) return *exit;
  auto config = load_config(std::get<CommandLine>(given), from);
  if (!config) return usage_error(config.failure());
  return *config;
}

Config parsed(const std::vector<std::string>& arguments, const Environment& from = environment({})) {
  auto out = read_all(arguments, from);
  if (const auto* exit = std::get_if<CommandLineExit>(&out)) FAIL(exit->text);
  return std::get<Config>(out);
}

CommandLineExit refused(const std::vector<std::string>& arguments, const Environment& from = environment({})) {
  auto out = read_all(arguments, from);
  REQUIRE(std::holds_alternative<CommandLineExit>(out));
  return std::get<CommandLineExit>(out);
}

}  // namespace

TEST_CASE("the defaults") {
  const Config config = parsed({});
  CHECK(config.bootstrap == std::vector<HostPort>{{"bootstrap.jami.net", 4222}});
  CHECK(config.ice_request == IceRequestPolicy::kTrusted);
  CHECK(config.log_level == LogLevel::kInfo);
  CHECK(!config.no_lan_discovery);
  CHECK(config.idle_timeout == seconds(300));
  CHECK(config.keepalive == seconds(30));
  CHECK(config.open_timeout == seconds(30));
  CHECK(config.max_channels == 0);
  CHECK(config.max_unknown_setups == 4);
  CHECK(config.max_setups == 32);
  CHECK(config.state_dir.empty());
  CHECK(Config().max_clients == config.max_clients);
}

TEST_CASE("every option of the contract, in both forms") {
  const Config config = parsed({"--state-dir", "/s", "--socket=/c.sock", "--bootstrap", "a:1", "--bootstrap", "[::1]",
                                "--dht-port", "4222", "--no-lan-discovery", "--ice-request", "ask", "--log-level=debug",
                                "--max-channels", "100", "--idle-timeout", "5"});
  CHECK(config.state_dir == "/s");
  CHECK(config.socket == "/c.sock");
  CHECK(config.bootstrap == std::vector<HostPort>{{"a", 1}, {"::1", 4222}});
  CHECK(config.dht_port == 4222);
  CHECK(config.no_lan_discovery);
  CHECK(config.ice_request == IceRequestPolicy::kAsk);
  CHECK(config.log_level == LogLevel::kDebug);
  CHECK(config.max_channels == 100);
  CHECK(config.idle_timeout == seconds(5));
}

TEST_CASE("bootstrap none is no bootstrap at all") {
  CHECK(parsed({"--bootstrap", "none"}).bootstrap.empty());
}

TEST_CASE("--help names every option, --version the version; both end with 0") {
  const CommandLineExit help = refused({"--help"});
  CHECK(help.code == 0);
  for (const OptionSpec& option : options()) {
    INFO(option.name);
    CHECK(help.text.find("--" + std::string(option.name) + (option.is_flag() ? "" : " ")) != std::string::npos);
  }
  CHECK(help.text.find("--config FILE") != std::string::npos);
  const CommandLineExit version = refused({"--version"});
  CHECK(version.code == 0);
  CHECK(version.text == "jami-connd " CONND_VERSION "\n");
}

TEST_CASE("a usage error is one line, and 2") {
  const std::vector<std::vector<std::string>> bad = {{"--nonsense"},
                                                     {"word"},
                                                     {"--socket"},
                                                     {"--socket", "/a", "--socket", "/b"},
                                                     {"--socket", "/a", "/b"},
                                                     {"--socket="},
                                                     {"--dht-port", "65536"},
                                                     {"--dht-port", "x"},
                                                     {"--bootstrap", "a:b"},
                                                     {"--bootstrap", "a:1", "b:1"},
                                                     {"--ice-request", "never"},
                                                     {"--log-level", ""},
                                                     {"--no-lan-discovery=maybe"},
                                                     {"--idle-timeout", "-1"},
                                                     {"--reserve", "root x"},
                                                     {"--config", "/nonexistent/file"}};
  for (const auto& arguments : bad) {
    INFO(arguments[0] << " " << (arguments.size() > 1 ? arguments[1] : ""));
    const CommandLineExit exit = refused(arguments);
    INFO(exit.text);
    CHECK(exit.code == 2);
    CHECK(exit.text.find("jami-connd: ") == 0);
    CHECK(std::count(exit.text.begin(), exit.text.end(), '\n') == 1);
    CHECK(exit.text.back() == '\n');
  }
}

TEST_CASE("the configuration file is read, and the command line wins") {
  TempDir dir;
  const std::string path = dir.file("connd.conf");
  write_file(path,
             "# a comment\n\n  dht-port = 1000\nidle-timeout=7\r\n\tno-lan-discovery = true\n"
             "bootstrap = a:1\nbootstrap = b:2\nsocket = /with space#and = signs");
  Config config = parsed({"--config", path});
  CHECK(config.dht_port == 1000);
  CHECK(config.idle_timeout == seconds(7));
  CHECK(config.no_lan_discovery);
  CHECK(config.bootstrap == std::vector<HostPort>{{"a", 1}, {"b", 2}});
  CHECK(config.socket == "/with space#and = signs");

  config = parsed({"--dht-port", "2000", "--config", path, "--bootstrap", "c"});
  CHECK(config.dht_port == 2000);
  CHECK(config.idle_timeout == seconds(7));
  CHECK(config.bootstrap == std::vector<HostPort>{{"c", 4222}});

  write_file(path, "bootstrap = none\n");
  CHECK(parsed({"--config", path}).bootstrap.empty());
  write_file(path, "");
  CHECK(parsed({"--config", path}).dht_port == 0);
}

TEST_CASE("an error in the configuration file names file and line") {
  TempDir dir;
  const std::string path = dir.file("connd.conf");
  const std::pair<std::string, int> bad[] = {{"dht-port = 1\nnonsense = 1\n", 2},
                                             {"\n\n# x\ndht-port", 4},
                                             {"dht-port = 1\ndht-port = 2", 2},
                                             {"dht-port = x", 1},
                                             {"no-lan-discovery = 1", 1},
                                             {"socket =", 1},
                                             {"= 1", 1},
                                             {"config = /x", 1},
                                             {"\nhelp = true", 2}};
  for (const auto& [text, line] : bad) {
    write_file(path, text);
    INFO(text);
    const CommandLineExit exit = refused({"--config", path});
    CHECK(exit.code == 2);
    CHECK(exit.text.find("jami-connd: " + path + ":" + std::to_string(line) + ": ") == 0);
    CHECK(std::count(exit.text.begin(), exit.text.end(), '\n') == 1);
  }
  write_file(path, std::string(1024 * 1024 + 1, '\n'));
  CHECK(refused({"--config", path}).code == 2);
}

TEST_CASE("without --config, the user's own file is read, if it is there") {
  TempDir dir;
  const Environment xdg = environment({{"XDG_CONFIG_HOME", dir.file("c")}, {"HOME", "/nonexistent"}});
  const Environment home = environment({{"HOME", dir.path()}});
  CHECK(default_config_file(xdg) == dir.file("c/jami-connd/jami-connd.conf"));
  CHECK(default_config_file(home) == dir.file(".config/jami-connd/jami-connd.conf"));
  CHECK(default_config_file(environment({{"XDG_CONFIG_HOME", "relative"}})).empty());
  CHECK(parsed({}, xdg).dht_port == 0);

  std::filesystem::create_directories(dir.file("c/jami-connd"));
  write_file(default_config_file(xdg), "dht-port = 7\n");
  CHECK(parsed({}, xdg).dht_port == 7);
  CHECK(parsed({"--dht-port", "8"}, xdg).dht_port == 8);
  write_file(dir.file("other"), "idle-timeout = 9\n");
  CHECK(parsed({"--config", dir.file("other")}, xdg).dht_port == 0);
  write_file(default_config_file(xdg), "dht-port\n");
  CHECK(refused({}, xdg).text.find("jami-connd: " + default_config_file(xdg) + ":1: ") == 0);
}

TEST_CASE("the control socket is the first place that is known") {
  const auto resolved = [](const std::string& option, const Environment& from) {
    const auto path = resolve_socket(option, from, "/nonexistent");
    return path ? *path : "failure: " + path.failure().text;
  };
  CHECK(resolved("/x", environment({{"RUNTIME_DIRECTORY", "/run/a"}})) == "/x");
  CHECK(resolved("", environment({{"RUNTIME_DIRECTORY", "/run/a:/run/b"}, {"XDG_RUNTIME_DIR", "/run/user/1"}})) ==
        "/run/a/control.sock");
  CHECK(resolved("", environment({{"XDG_RUNTIME_DIR", "/run/user/1"}}, 0)) == "/run/user/1/jami-connd/control.sock");
  CHECK(resolved("", environment({}, 0)) == "/run/jami-connd/control.sock");
  CHECK(resolved("", environment({})).find("pass --socket") != std::string::npos);
  CHECK(resolved("/" + std::string(106, 'a'), environment({})).size() == 107);
  CHECK(resolved("/" + std::string(107, 'a'), environment({})).find("failure: ") == 0);
}

TEST_CASE(
    "fault E8: the control socket goes to the user's directory without XDG_RUNTIME_DIR, and not to another user's") {
  const TempDir users;
  const auto uid = static_cast<unsigned>(::geteuid());
  const std::string ours = users.file(std::to_string(uid));
  ::mkdir(ours.c_str(), 0700);
  const auto resolved = [&users](const Environment& from) {
    const auto path = resolve_socket("", from, users.path());
    return path ? *path : "failure";
  };
  // For root the system's place comes first, for whoever has no directory there is none.
  CHECK(resolved(environment({}, uid)) ==
        (uid == 0 ? "/run/jami-connd/control.sock" : ours + "/jami-connd/control.sock"));
  CHECK(resolved(environment({}, uid + 1)) == "failure");
  // As su leaves it: set, and not ours.
  ::mkdir(users.file(std::to_string(uid + 1)).c_str(), 0700);
  CHECK(resolved(environment({{"XDG_RUNTIME_DIR", ours}}, uid + 1)) == "failure");
  CHECK(resolved(environment({{"XDG_RUNTIME_DIR", ours}}, uid)) == ours + "/jami-connd/control.sock");
}
