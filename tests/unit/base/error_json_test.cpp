#include "base/error_json.hpp"

#include "base/json.hpp"

#include <doctest/doctest.h>

TEST_CASE("an error names its status, its causes, whether to try again and what to do") {
  const auto inner = gf::Error{gf::Status::io_error, "disk \"a\": no answer", {}};
  const auto error = gf::wrap(inner, gf::Status::corrupt_file, "unet.safetensors cannot be read");
  gf::JsonText out;
  gf::write_error(out, error);
  const auto read = gf::parse_json(out.str(), "error");
  REQUIRE(read.has_value());
  const auto& json = *read.value();
  CHECK(json.at("status") == 401);
  CHECK(json.at("name") == gf::find_status(401)->name);
  CHECK(json.at("message") == error.message);
  CHECK(json.at("hint") == gf::find_status(401)->hint);
  CHECK(json.at("retryable") == gf::find_status(401)->retryable);
  REQUIRE(json.at("causes").size() == 1);
  CHECK(json.at("causes")[0].at("status") == 501);
  CHECK(json.at("causes")[0].at("message") == inner.message);
}

TEST_CASE("a status outside of the table is still written") {
  gf::JsonText out;
  gf::write_error(out, static_cast<gf::Status>(777), "", {});
  CHECK(out.str() == R"({"status":777,"name":"unknown","message":"","causes":[],"retryable":false,"hint":""})");
}
