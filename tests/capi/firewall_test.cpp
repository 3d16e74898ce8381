#include "firewall.hpp"

#include "allocation.hpp"
#include "base/json.hpp"

#include <doctest/doctest.h>

#include <cfenv>
#include <stdexcept>
#include <string>
#include <thread>

using gf::Error;
using gf::Result;
using gf::Status;
using gf::capi::firewall;

namespace {

const std::string long_text(200, 'm');  // Past the small-string room, so that a copy allocates.

gf_status fails_with(Error error) {
  return firewall([&]() -> Result<void> { return std::move(error); });
}

}  // namespace

TEST_CASE("success is ok and leaves the last error as it is") {
  fails_with({Status::queue_full, "full", {}});
  CHECK(firewall([]() -> Result<void> { return gf::success(); }) == GF_OK);
  CHECK(gf::capi::last_status() == GF_ERR_QUEUE_FULL);
  CHECK(std::string(gf::capi::last_message()) == "full");
}

TEST_CASE("an error keeps its status, message and causes, and tells the hint of its status") {
  CHECK(fails_with({Status::corrupt_file, "unet is cut", {{Status::io_error, "read stopped"}}}) == GF_ERR_CORRUPT_FILE);
  const auto parsed = gf::parse_json(gf::capi::last_error_json(), "last error");
  REQUIRE(parsed.has_value());
  const auto& object = *parsed.value();
  CHECK(object.at("status") == 401);
  CHECK(object.at("name") == "corrupt_file");
  CHECK(object.at("message") == "unet is cut");
  CHECK(object.at("retryable") == false);
  CHECK(object.at("hint") == "fetch the file again");
  REQUIRE(object.at("causes").size() == 1);
  CHECK(object.at("causes")[0].at("name") == "io_error");
  CHECK(object.at("causes")[0].at("message") == "read stopped");
}

TEST_CASE("exceptions become statuses: bad_alloc out of host memory, anything else internal") {
  CHECK(firewall([]() -> Result<void> { throw std::bad_alloc(); }) == GF_ERR_OUT_OF_HOST_MEMORY);
  CHECK(firewall([]() -> Result<void> { throw std::runtime_error("odd"); }) == GF_ERR_INTERNAL);
  CHECK(std::string(gf::capi::last_message()) == "odd");
  CHECK(firewall([]() -> Result<void> { throw 7; }) == GF_ERR_INTERNAL);
  CHECK(std::string(gf::capi::last_message()).find("unknown type") != std::string::npos);
  // Reading the side of a result that is not there is our bug.
  CHECK(firewall([]() -> Result<void> {
          Result<int> wrong = Error{Status::io_error, "x", {}};
          (void)wrong.value();
          return gf::success();
        }) == GF_ERR_INTERNAL);
}

TEST_CASE("an error that says ok is an internal one") {
  CHECK(fails_with({Status::ok, "contradiction", {}}) == GF_ERR_INTERNAL);
}

TEST_CASE("each thread has its own last error, and none at first") {
  fails_with({Status::queue_full, "mine", {}});
  std::thread([] {
    CHECK(gf::capi::last_status() == GF_OK);
    CHECK(std::string(gf::capi::last_message()).empty());
    fails_with({Status::not_found, "theirs", {}});
    CHECK(std::string(gf::capi::last_message()) == "theirs");
  }).join();
  CHECK(std::string(gf::capi::last_message()) == "mine");
}

TEST_CASE("without memory for the details the status stays, and its name is the message") {
  std::thread([] {                              // A fresh thread: the first failure allocates the most.
    const std::runtime_error first(long_text);  // Made before: a throw itself may allocate, too.
    const std::runtime_error second(std::string(100, 'n'));
    int rounds = 0;
    for (long fail_at = 1;; ++fail_at) {
      gf_status status;
      bool failed;
      {
        gf::test::FailingAllocation failing(fail_at);
        status = firewall([&]() -> Result<void> { throw first; });
        failed = failing.failed();
      }
      if (!failed) break;
      ++rounds;
      CHECK(status == GF_ERR_INTERNAL);
      CHECK(gf::capi::last_status() == GF_ERR_INTERNAL);
      CHECK(std::string(gf::capi::last_message()).size() > 0);
    }
    CHECK(rounds >= 2);
    CHECK(std::string(gf::capi::last_message()) == long_text);
    // An older message must not stand for a newer failure that could not be kept.
    {
      gf::test::FailingAllocation failing(1);
      firewall([&]() -> Result<void> { throw second; });
    }
    CHECK(std::string(gf::capi::last_message()) == "internal");
  })
      .join();
}

TEST_CASE("the body runs in the default floating-point environment, and the host's is put back") {
  std::fesetround(FE_UPWARD);
  int inside = -1;
  firewall([&]() -> Result<void> {
    inside = std::fegetround();
    std::fesetround(FE_DOWNWARD);
    throw std::bad_alloc();
  });
  const int after = std::fegetround();
  std::fesetround(FE_TONEAREST);
  CHECK(inside == FE_TONEAREST);
  CHECK(after == FE_UPWARD);
}
