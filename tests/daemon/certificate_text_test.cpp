// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/trust/certificate_text.h"

#include <catch2/catch.hpp>

#include "proto/error.h"

using namespace connd;
using namespace connd::daemon;

namespace {

constexpr std::int64_t kDay = 86'400;
constexpr std::int64_t kNow = 1'800'000'000;  // 2027-01-15 08:00 UTC
constexpr proto::Validity kYears{kNow - 365 * kDay, kNow + 365 * kDay};

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("fault B5: this device's certificate is held against its clock, and both are told") {
  CHECK_FALSE(own_certificate_problem(kYears, kNow));
  CHECK_FALSE(own_certificate_problem(kYears, kYears.from_unix));
  struct Row {
    std::int64_t now;
    const char* said;
    const char* clock;
  };
  for (const auto& [now, said, clock] :
       {Row{kYears.from_unix - 1, "not valid yet", "2026-01-15 07:59 UTC"},
        Row{0, "not valid yet", "1970-01-01 00:00 UTC"}, Row{kYears.until_unix, "has expired", "2028-01-15 08:00 UTC"},
        Row{kYears.until_unix - 1, "expires soon", "2028-01-15 07:59 UTC"},
        Row{kYears.until_unix - kSoonSeconds, "expires soon", "2028-01-01 08:00 UTC"}}) {
    INFO(said);
    const auto problem = own_certificate_problem(kYears, now);
    REQUIRE(problem);
    CHECK(has(*problem, "this device's certificate"));
    CHECK(has(*problem, said));
    CHECK(has(*problem, "valid from 2026-01-15 08:00 UTC until 2028-01-15 08:00 UTC"));
    CHECK(has(*problem, std::string("this device's clock says ") + clock));
  }
  CHECK_FALSE(own_certificate_problem(kYears, kYears.until_unix - kSoonSeconds - 1));
  CHECK_FALSE(own_certificate_problem({kNow - kDay, kNow + kDay}, kNow));  // made for a day
}

TEST_CASE("fault B5: an error says whose certificate it was about") {
  const auto text = [](proto::Errc fault) {
    const auto code = proto::make_error_code(fault);
    return certificate_fault_text(code, code.message(), kYears, kNow);
  };
  CHECK(text(proto::Errc::kCertificateRefused).find("the peer refused this device's certificate (valid from") == 0);
  CHECK(has(text(proto::Errc::kCertificateRefused), "this device's clock says 2027-01-15 08:00 UTC"));
  for (const auto fault : {proto::Errc::kCertificateExpired, proto::Errc::kCertificateNotYetValid}) {
    CHECK(text(fault).find("the peer shows a certificate that ") == 0);
    CHECK(has(text(fault), "this device's clock says 2027-01-15 08:00 UTC"));
  }
  CHECK(text(proto::Errc::kCertificateRevoked) == "the peer shows a certificate that was revoked");
  const std::string refused =
      certificate_fault_text(proto::make_error_code(proto::Errc::kCertificateRefused),
                             "the peer refused this device's certificate (alert unknown ca)", {}, 0);
  CHECK(refused ==
        "the peer refused this device's certificate; this device's clock says 1970-01-01 00:00 UTC; it said: alert "
        "unknown ca");
  // What is not about certificates stays as it is.
  CHECK(text(proto::Errc::kTlsAlert) == proto::make_error_code(proto::Errc::kTlsAlert).message());
  CHECK(certificate_fault_text({}, "gone", kYears, kNow) == "gone");
}
