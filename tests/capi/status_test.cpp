// Statuses, the thread's last error and versions, as hosts see them.
#include "support.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <cstdint>
#include <cstring>
#include <set>
#include <string>
#include <thread>
#include <vector>

using gf::test::text_of;
using nlohmann::json;

namespace {

std::string last_error_json() {
  return text_of([](char* buffer, std::uint64_t* size) { return gf_last_error_json(buffer, size); });
}

}  // namespace

TEST_CASE("the table rises by number, ends in not found, and every row is found by its number too") {
  gf_status_description row = GF_STATUS_DESCRIPTION_INIT;
  std::uint32_t rows = 0;
  std::uint32_t last = 0;
  std::set<std::string> names;
  for (; gf_status_table(rows, &row) == GF_OK; ++rows) {
    CAPTURE(row.status);
    CHECK((rows == 0 || row.status > last));
    last = row.status;
    CHECK(names.insert(row.name).second);
    CHECK(std::strlen(row.hint) > 5);
    CHECK(row.severity <= GF_SEVERITY_FATAL);
    CHECK(row.retryable <= 1);
    CHECK(std::string(gf_status_name(row.status)) == row.name);
    gf_status_description same = GF_STATUS_DESCRIPTION_INIT;
    REQUIRE(gf_status_describe(row.status, &same) == GF_OK);
    CHECK(same.name == row.name);
    CHECK(same.hint == row.hint);
  }
  CHECK(rows >= 39);
  CHECK(gf_last_error_status() == GF_ERR_NOT_FOUND);
  CHECK(std::string(gf_status_name(12345)) == "unknown");
  CHECK(std::string(gf_status_name(0xFFFFFFFF)) == "unknown");
  CHECK(std::string(gf_status_name(GF_ERR_QUEUE_FULL)) == "queue_full");
}

TEST_CASE("the last error is the thread's own, stays over calls that succeed, and is told as JSON") {
  std::thread([] {
    CHECK(gf_last_error_status() == GF_OK);
    CHECK(std::string(gf_last_error_message()).empty());
    const auto none = json::parse(last_error_json());
    CHECK(none.at("status") == 0);
    CHECK(none.at("message") == "");
    CHECK(none.at("causes").empty());
  }).join();

  REQUIRE(gf_image_release(reinterpret_cast<gf_image*>(1)) == GF_ERR_INVALID_HANDLE);
  std::thread([] {
    gf_status_description row = GF_STATUS_DESCRIPTION_INIT;
    CHECK(gf_status_describe(1, &row) == GF_ERR_NOT_FOUND);
    CHECK(gf_last_error_status() == GF_ERR_NOT_FOUND);
  }).join();
  CHECK(gf_version() == 100);
  std::uint64_t size = 0;
  CHECK(gf_version_json(nullptr, &size) == GF_OK);
  CHECK(gf_last_error_status() == GF_ERR_INVALID_HANDLE);
  const auto error = json::parse(last_error_json());
  CHECK(error.at("status") == 107);
  CHECK(error.at("name") == "invalid_handle");
  CHECK(error.at("message") == gf_last_error_message());
  CHECK(error.at("retryable") == false);
  CHECK(std::string(error.at("hint")).size() > 5);
}

TEST_CASE("asking for the last error never replaces it") {
  REQUIRE(gf_image_release(reinterpret_cast<gf_image*>(1)) == GF_ERR_INVALID_HANDLE);
  const std::string message = gf_last_error_message();
  char small[4] = {'x', 'x', 'x', 'x'};
  std::uint64_t size = sizeof small;
  CHECK(gf_last_error_json(small, &size) == GF_ERR_BUFFER_TOO_SMALL);
  CHECK(size > sizeof small);
  CHECK(small[0] == 'x');
  CHECK(gf_last_error_json(small, nullptr) == GF_ERR_INVALID_ARGUMENT);
  CHECK(gf_last_error_status() == GF_ERR_INVALID_HANDLE);
  CHECK(gf_last_error_message() == message);
}

TEST_CASE("a host's destructor that calls in while its thread ends finds a living library") {
  struct Late {
    bool* wrong = nullptr;
    ~Late() {
      // Runs among the thread's last destructors, before and after the library's own thread data go.
      *wrong = gf_image_release(reinterpret_cast<gf_image*>(3)) != GF_ERR_INVALID_HANDLE ||
               std::string(gf_last_error_message()).empty();
    }
  };
  bool wrong = true;
  std::thread([&wrong] {
    static thread_local Late late;
    late.wrong = &wrong;
    gf_image_release(reinterpret_cast<gf_image*>(1));
  }).join();
  CHECK_FALSE(wrong);
}

TEST_CASE("the version is told as number, as text, and with the parts") {
  CHECK(gf_version() == 10000 * GF_VERSION_MAJOR + 100 * GF_VERSION_MINOR + GF_VERSION_PATCH);
  CHECK(std::string(gf_version_text()) == "0.1.0");
  const auto version =
      json::parse(text_of([](char* buffer, std::uint64_t* size) { return gf_version_json(buffer, size); }));
  CHECK(version.at("version") == "0.1.0");
  CHECK(version.at("number") == 100);
  CHECK_FALSE(std::string(version.at("compiler")).empty());
  for (const char* part : {"fmt", "boost", "nlohmann_json", "libpng", "zlib", "tomlplusplus"}) {
    CAPTURE(part);
    const std::string text = version.at("parts").at(part);
    CHECK(text.find('.') != std::string::npos);
    CHECK(text.find_first_not_of("0123456789.") == std::string::npos);
  }
}
