// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/trust/certificate_text.h"

#include <array>
#include <ctime>

#include "proto/error.h"

namespace connd::daemon {
namespace {

std::string clock_text(std::int64_t now_unix) {
  return "this device's clock says " + date_text(now_unix);
}

std::string dates_text(const proto::Validity& dates) {
  return "valid from " + date_text(dates.from_unix) + " until " + date_text(dates.until_unix);
}

}  // namespace

std::string date_text(std::int64_t unix_time) {
  const std::time_t time = unix_time;
  std::tm broken_down{};
  std::array<char, 64> text{};
  if (::gmtime_r(&time, &broken_down) == nullptr) return std::to_string(unix_time) + " s since 1970";
  const std::size_t size = std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M UTC", &broken_down);
  return {text.data(), size};
}

std::optional<std::string> own_certificate_problem(const proto::Validity& own, std::int64_t now_unix) {
  const std::string facts = " (" + dates_text(own) + "; " + clock_text(now_unix) + ")";
  if (now_unix < own.from_unix) {
    return "this device's certificate is not valid yet" + facts + ": peers refuse it; if the clock is wrong, set it";
  }
  if (now_unix >= own.until_unix) {
    return "this device's certificate has expired" + facts +
           ": peers refuse it; if the clock is right, have it certified anew (identity request, sign, import)";
  }
  if (now_unix >= own.until_unix - kSoonSeconds && own.until_unix - own.from_unix > 2 * kSoonSeconds) {
    return "this device's certificate expires soon" + facts +
           ": have it certified anew (identity request, sign, import)";
  }
  return std::nullopt;
}

std::string certificate_fault_text(std::error_code fault, const std::string& told,
                                   const std::optional<proto::Validity>& own, std::int64_t now_unix) {
  if (fault == proto::make_error_code(proto::Errc::kCertificateRefused)) {
    const std::string dates = own ? " (" + dates_text(*own) + ")" : std::string();
    // Behind our own sentence stands the peer's word, in brackets.
    const std::size_t word = told.find(" (");
    const std::string said =
        word == std::string::npos ? std::string() : "; it said: " + told.substr(word + 2, told.size() - word - 3);
    return "the peer refused this device's certificate" + dates + "; " + clock_text(now_unix) + said;
  }
  if (fault == proto::make_error_code(proto::Errc::kCertificateExpired) ||
      fault == proto::make_error_code(proto::Errc::kCertificateNotYetValid)) {
    return "the peer shows " + told + "; " + clock_text(now_unix);
  }
  const bool about_peer =
      fault.category() == proto::error_category() && proto::reason_of(fault) == proto::Reason::kBadCertificate;
  return about_peer ? "the peer shows " + told : told;
}

}  // namespace connd::daemon
