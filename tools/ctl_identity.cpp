// SPDX-License-Identifier: GPL-3.0-or-later
/// The verbs identity and crl.
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include <CLI/CLI.hpp>

#include "ipc/line_codec.h"
#include "tools/ctl_context.h"
#include "tools/output.h"

namespace connd::tools {
namespace {

using ipc::Json;

struct IdentityArguments {
  std::string file;
  std::string passphrase_file;
  std::string crl;
  std::string device;
  bool trust_account = false;
};

struct FileCloser {
  void operator()(std::FILE* file) const {
    if (file != stdin) std::fclose(file);
  }
};

/// The whole file, "-" being stdin; nothing, and told, when it cannot be read or is longer than any request may be.
std::optional<std::string> read_file(const Context& context, const std::string& path) {
  const std::unique_ptr<std::FILE, FileCloser> file(path == "-" ? stdin : std::fopen(path.c_str(), "re"));
  std::string text;
  std::array<char, 65'536> part{};
  while (file && text.size() <= ipc::kMaxCrlBytes) {
    const std::size_t n = std::fread(part.data(), 1, part.size(), file.get());
    if (n == 0) break;
    text.append(part.data(), n);
  }
  if (!file || std::ferror(file.get()) != 0) {
    context.fail(printable(path) + ": cannot be read: " + std::strerror(errno));
    return std::nullopt;
  }
  if (text.size() > ipc::kMaxCrlBytes) {
    context.fail(printable(path) + ": is too long");
    return std::nullopt;
  }
  return text;
}

/// The first line of a file; nothing, told and with an exit code, when there is none that arrives as it stands.
std::optional<std::string> read_passphrase(const Context& context, const std::string& path, int& exit_code) {
  auto text = read_file(context, path);
  if (!text) {
    exit_code = kExitFailure;
    return std::nullopt;
  }
  text->resize(std::min(text->find_first_of("\r\n"), text->size()));
  if (ipc::is_utf8(*text) && text->find('\0') == std::string::npos) return text;
  exit_code = context.fail(path + ": a passphrase is UTF-8 without NUL, and its first line is not", kExitUsage);
  return std::nullopt;
}

void print_member(const Context& context, const Json& reply, const char* name) {
  if (context.json) return print_json(reply);
  // PEM, as the file that people expect.
  const auto text = reply.find(name);
  if (text == reply.end() || !text->is_string()) return;
  const auto& pem = text->get_ref<const std::string&>();
  std::fwrite(pem.data(), 1, pem.size(), stdout);
}

/// Calls, and prints the text that is the result's member `name`.
int print_text(const Context& context, std::string_view method, Json params, const char* name) {
  int exit_code = 0;
  const auto reply = context.call(method, std::move(params), exit_code);
  if (reply) print_member(context, *reply, name);
  return reply ? 0 : exit_code;
}

int call_for_nothing(const Context& context, std::string_view method, Json params) {
  int exit_code = 0;
  (void)context.call(method, std::move(params), exit_code);
  return exit_code;
}

/// The account that a reply of `method` has.
std::optional<std::string> account_of(const Context& context, const char* method, Json params, int& exit_code) {
  const auto reply = context.call(method, std::move(params), exit_code);
  if (!reply) return std::nullopt;
  const auto account = reply->find("account");
  if (account == reply->end() || !account->is_string()) return std::string();
  return account->get<std::string>();
}

/// After one of the verbs by which a device joins an account: its devices are strangers to each other until somebody
/// says otherwise.
int joined(const Context& context, const IdentityArguments& arguments, const std::string& account) {
  if (!arguments.trust_account) {
    context.say(
        "the devices of an account do not trust each other by that; to let them in here, now and later: "
        "jami-connctl trust allow " +
        printable(account));
    return 0;
  }
  int exit_code = 0;
  if (!context.call("trust.allow", {{"id", account}, {"kind", "account"}}, exit_code)) return exit_code;
  context.say("all devices of account " + printable(account) + " are trusted here now");
  return 0;
}

int run_sign(const Context& context, const IdentityArguments& arguments) {
  const auto request = read_file(context, arguments.file);
  if (!request) return kExitFailure;
  int exit_code = print_text(context, "identity.sign", {{"request", *request}}, "chain");
  if (exit_code != 0) return exit_code;
  const auto account = account_of(context, "identity.show", Json::object(), exit_code);
  if (!account) return exit_code;
  return joined(context, arguments, *account);
}

/// Others hear of it by the DHT otherwise.
void warn_of_length(const Context& context, const ipc::CrlEntry& list) {
  if (!list.too_long) return;
  context.say("warning: the list is too long to travel by itself (" + std::to_string(list.revoked) +
              " certificates): each device that is to know it takes it with 'jami-connctl crl add'");
}

int run_revoke(const Context& context, const IdentityArguments& arguments) {
  Json params = {{"device", arguments.device}};
  if (!arguments.file.empty()) {
    const auto chain = read_file(context, arguments.file);
    if (!chain) return kExitFailure;
    params["chain"] = *chain;
  }
  int exit_code = 0;
  const auto reply = context.call("identity.revoke", std::move(params), exit_code);
  if (!reply) return exit_code;
  print_member(context, *reply, "pem");
  context.say(
      "the device is banned here, and its certificates are taken back; devices that the list does "
      "not reach by itself take it with 'jami-connctl crl add'");
  if (const auto list = reply->find("crl"); list != reply->end()) {
    if (const auto entry = ipc::read_result<ipc::CrlEntry>(*list)) warn_of_length(context, *entry);
  }
  return 0;
}

int run_import(const Context& context, const IdentityArguments& arguments) {
  const auto pem = read_file(context, arguments.file);
  if (!pem) return kExitFailure;
  Json params = {{"pem", *pem}};
  if (!arguments.passphrase_file.empty()) {
    int exit_code = 0;
    const auto passphrase = read_passphrase(context, arguments.passphrase_file, exit_code);
    if (!passphrase) return exit_code;
    params["passphrase"] = *passphrase;
  }
  int exit_code = 0;
  auto account = account_of(context, "identity.import", std::move(params), exit_code);
  if (account && account->empty()) account = account_of(context, "identity.show", Json::object(), exit_code);
  if (!account) return exit_code;
  return joined(context, arguments, *account);
}

int run_export(const Context& context, const IdentityArguments& arguments) {
  int exit_code = 0;
  const auto passphrase = read_passphrase(context, arguments.passphrase_file, exit_code);
  if (!passphrase) return exit_code;
  return print_text(context, "identity.export_account", {{"passphrase", *passphrase}}, "account");
}

int run_crl_add(const Context& context, const IdentityArguments& arguments) {
  const auto pem = read_file(context, arguments.file);
  if (!pem) return kExitFailure;
  int exit_code = 0;
  const auto reply = context.call("crl.add", {{"pem", *pem}}, exit_code);
  if (!reply) return exit_code;
  const auto entry = ipc::read_result<ipc::CrlEntry>(*reply);
  if (!entry) return context.fail(entry.error());
  if (context.json) {
    print_json(*reply);
  } else {
    std::printf("%s\n", printable(entry->crl).c_str());
  }
  warn_of_length(context, *entry);
  return 0;
}

int run_crl_list(const Context& context) {
  int exit_code = 0;
  const auto reply = context.list("crl.list", "crls", exit_code);
  if (!reply) return exit_code;
  const auto list = ipc::read_result<ipc::CrlListResult>(*reply);
  if (!list) return context.fail(list.error());
  if (context.json) {
    for (const Json& entry : (*reply)["crls"]) print_json(entry);
    return 0;
  }
  std::vector<std::vector<std::string>> rows;
  for (const auto& entry : list->crls) {
    rows.push_back({printable(entry.crl), std::to_string(entry.revoked), printable(entry.issuer)});
  }
  print_table({"CRL", "REVOKED", "ISSUER"}, rows);
  return 0;
}

using Run = int (*)(const Context&, const IdentityArguments&);
using SharedArguments = std::shared_ptr<IdentityArguments>;

/// `example` begins with the name of the verb.
CLI::App* add(CLI::App& group, Context& context, const SharedArguments& arguments, const std::string& example,
              const char* text, Run run) {
  auto* sub = group.add_subcommand(example.substr(0, example.find(' ')), text);
  sub->footer("Example: jami-connctl " + group.get_name() + " " + example);
  sub->callback(
      [&context, arguments, run] { context.run = [&context, arguments, run] { return run(context, *arguments); }; });
  return sub;
}

void add_file(CLI::App* sub, const SharedArguments& arguments, const char* text) {
  sub->add_option("file", arguments->file, text)->required()->type_name("FILE");
}

void add_identity(CLI::App& app, Context& context, const SharedArguments& arguments) {
  auto* group = app.add_subcommand("identity", "let further devices join this device's account")->require_subcommand(1);
  group->fallthrough();
  add(*group, context, arguments, "show", "print this device's certificate chain, in PEM",
      [](const Context& c, const IdentityArguments&) {
        return print_text(c, "identity.show", Json::object(), "chain");
      });
  add(*group, context, arguments, "request > request.pem", "print a certificate request for this device",
      [](const Context& c, const IdentityArguments&) {
        return print_text(c, "identity.request", Json::object(), "request");
      });
  constexpr const char* kTrustAccount = "trust all devices of this account here, now and later";
  auto* sign = add(*group, context, arguments, "sign request.pem > chain.pem",
                   "certify another device for this account, and print its chain", run_sign);
  add_file(sign, arguments, "its request, '-' for stdin");
  sign->add_flag("--trust-account", arguments->trust_account, kTrustAccount);
  auto* revoke =
      add(*group, context, arguments, "revoke laptop > revoked.pem",
          "take back the certificates of a device of this account that was lost, and print the list", run_revoke);
  revoke->add_option("device", arguments->device, "64 hex digits, or an alias")->required()->type_name("DEVICE");
  revoke->add_option("--chain", arguments->file, "its certificates, if they are not known here; '-' for stdin")
      ->type_name("FILE");
  auto* import = add(*group, context, arguments, "import chain.pem",
                     "take the chain that 'sign' printed, or the keys that 'export-account' printed", run_import);
  add_file(import, arguments, "'-' for stdin");
  import->add_flag("--trust-account", arguments->trust_account, kTrustAccount);
  import->add_option("--passphrase-file", arguments->passphrase_file, "whose first line, in UTF-8, opens exported keys")
      ->type_name("FILE");
  add(*group, context, arguments, "export-account --passphrase-file passphrase > account.pem",
      "print the account's private key, encrypted", run_export)
      ->add_option("--passphrase-file", arguments->passphrase_file,
                   "whose first line encrypts it: 8 bytes or more of UTF-8")
      ->required()
      ->type_name("FILE");
  add(*group, context, arguments, "forget-account-key", "remove the account's key from this device",
      [](const Context& c, const IdentityArguments&) {
        return call_for_nothing(c, "identity.forget_account_key", Json::object());
      });
}

void add_crl(CLI::App& app, Context& context, const SharedArguments& arguments) {
  auto* group = app.add_subcommand("crl", "certificate revocation lists: refuse what its issuer took back")
                    ->require_subcommand(1);
  group->fallthrough();
  add_file(add(*group, context, arguments, "add revoked.pem", "add a list, and print its id", run_crl_add), arguments,
           "a CRL in PEM, '-' for stdin");
  add(*group, context, arguments, "remove 0123…cdef", "forget a list",
      [](const Context& c, const IdentityArguments& a) {
        return call_for_nothing(c, "crl.remove", {{"crl", a.crl}});
      })
      ->add_option("id", arguments->crl, "64 hex digits, as 'list' shows")
      ->required()
      ->type_name("ID");
  add(*group, context, arguments, "list", "list them",
      [](const Context& c, const IdentityArguments&) { return run_crl_list(c); });
}

}  // namespace

void add_identity_verbs(CLI::App& app, Context& context) {
  // Shared by the parser's options, which write it, and the verbs, which read it.
  const auto arguments = std::make_shared<IdentityArguments>();
  add_identity(app, context, arguments);
  add_crl(app, context, arguments);
}

}  // namespace connd::tools
