#include "buffers.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <vector>

using gf::Status;
using gf::capi::give_text;

TEST_CASE("a NULL buffer asks for the size, its NUL included") {
  std::uint64_t size = 12345;
  REQUIRE(give_text("potion", nullptr, &size).has_value());
  CHECK(size == 7);
  REQUIRE(give_text("", nullptr, &size).has_value());
  CHECK(size == 1);
}

TEST_CASE("a buffer of exactly the size is filled; one byte less is left alone and names the need") {
  char buffer[8] = {'x', 'x', 'x', 'x', 'x', 'x', 'x', 'x'};
  std::uint64_t size = 6;
  const auto refused = give_text("potion", buffer, &size);
  REQUIRE(refused.has_error());
  CHECK(refused.error().status == Status::buffer_too_small);
  CHECK(size == 7);
  CHECK(std::string(buffer, 8) == "xxxxxxxx");

  size = 7;
  REQUIRE(give_text("potion", buffer, &size).has_value());
  CHECK(std::string(buffer) == "potion");
  CHECK(buffer[7] == 'x');
  CHECK(size == 7);
}

TEST_CASE("a larger buffer is filled, and the size tells what was used") {
  std::vector<char> buffer(100, 'x');
  std::uint64_t size = buffer.size();
  REQUIRE(give_text("potion", buffer.data(), &size).has_value());
  CHECK(size == 7);
  CHECK(buffer[7] == 'x');
}

TEST_CASE("a NULL size is refused by name") {
  const auto refused = gf::capi::check_size(nullptr, "count");
  REQUIRE(refused.has_error());
  CHECK(refused.error().status == Status::invalid_argument);
  CHECK(refused.error().message == "count is NULL");
}
