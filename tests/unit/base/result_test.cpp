#include "base/result.hpp"

#include <doctest/doctest.h>

#include <exception>
#include <memory>
#include <string>

using gf::Error;
using gf::Result;
using gf::Status;

namespace {

Result<int> half(int value) {
  if (value % 2 != 0) return Error{Status::invalid_argument, "the value is odd", {}};
  return value / 2;
}

Result<int> quarter(int value) {
  GF_TRY(const auto once, half(value));
  GF_TRY(const auto twice, half(once));
  return twice;
}

Result<void> must_be_even(int value) {
  GF_TRYV(half(value));
  return gf::success();
}

Result<std::unique_ptr<int>> boxed(int value) {
  GF_TRY(auto halved, half(value));
  return std::make_unique<int>(halved);
}

Result<int> unboxed(int value) {
  GF_TRY(const auto box, boxed(value));
  return *box;
}

}  // namespace

TEST_CASE("GF_TRY hands on the value, and the first error as it is") {
  CHECK(quarter(12).value() == 3);
  const auto refused = quarter(6);
  REQUIRE(refused.has_error());
  CHECK(refused.error().status == Status::invalid_argument);
  CHECK(refused.error().message == "the value is odd");
  CHECK(refused.error().causes.empty());
}

TEST_CASE("GF_TRYV stops where there is no value to keep") {
  CHECK(must_be_even(2).has_value());
  CHECK(must_be_even(3).error().status == Status::invalid_argument);
}

TEST_CASE("a value that can only be moved goes through") {
  CHECK(unboxed(10).value() == 5);
  CHECK(unboxed(11).has_error());
}

TEST_CASE("reading the side that is not there throws, and does not run on") {
  const Result<int> good = 1;
  const Result<int> bad = Error{Status::not_found, "nothing", {}};
  CHECK_THROWS_AS((void)good.error(), std::exception);
  CHECK_THROWS((void)bad.value());
}

TEST_CASE("wrap puts the new layer in front and keeps the chain from near to far") {
  const Error disk{Status::disk_full, "no space left", {}};
  const auto file = gf::wrap(disk, Status::io_error, "picture.png was not written");
  const auto job = gf::wrap(file, Status::internal, "job 7 ended");
  CHECK(job.status == Status::internal);
  CHECK(job.message == "job 7 ended");
  REQUIRE(job.causes.size() == 2);
  CHECK(job.causes[0].status == Status::io_error);
  CHECK(job.causes[0].message == "picture.png was not written");
  CHECK(job.causes[1].status == Status::disk_full);
  CHECK(job.causes[1].message == "no space left");
}

TEST_CASE("an error knows the function that made it, and a wrap keeps both places, the foreign code and the wait") {
  auto made = [](int line) { return Error{Status::not_found, std::to_string(line), {}}; }(__LINE__);
  made.foreign = gf::sqlstate_code("40001");
  made.retry_after_us = 7;
  CHECK(std::string(made.where.function_name()).find("lambda") != std::string::npos);
  // Relative to the source tree or to the build folder, as the compiler was called; never a path of the machine.
  CHECK(std::string(made.where.file_name()).ends_with("tests/unit/base/result_test.cpp"));
  CHECK(made.where.file_name()[0] != '/');
  const auto outer = gf::wrap(std::move(made).with("job", "7"), Status::internal, "job 7 ended");
  CHECK(std::string(outer.where.function_name()).find("lambda") == std::string::npos);
  CHECK(outer.foreign == gf::ForeignCode{});
  CHECK(outer.retry_after_us == 7);
  REQUIRE(outer.context.size() == 1);
  CHECK(outer.context[0].key == "job");
  REQUIRE(outer.causes.size() == 1);
  CHECK(outer.causes[0].foreign == gf::sqlstate_code("40001"));
  CHECK(std::string(outer.causes[0].where.function_name()).find("lambda") != std::string::npos);
}

TEST_CASE("SQLSTATEs are told apart, and more than five characters are not read") {
  CHECK(gf::sqlstate_code("40001") != gf::sqlstate_code("40P01"));
  CHECK(gf::sqlstate_code("40001") == gf::sqlstate_code("40001x"));
  CHECK(gf::sqlstate_code("").number == 0);
}
