#include "structs.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>
#include <string>

using gf::Status;

namespace {

// The struct as this library knows it; the first release had it up to `second`.
struct Known {
  std::uint32_t struct_size;
  std::uint32_t first;
  std::uint64_t second;
  std::uint64_t added;
};
constexpr std::size_t first_size = 16;

// What a caller with a newer header passes.
struct Newer {
  Known known;
  std::uint64_t unknown[2];
};

const Known defaults = {sizeof(Known), 1, 2, 3};

}  // namespace

TEST_CASE("NULL stands for the defaults") {
  const auto read = gf::capi::read_options<Known>(nullptr, defaults, first_size, "options");
  REQUIRE(read.has_value());
  CHECK(read.value().added == 3);
}

TEST_CASE("an older caller's missing tail keeps its default, and bytes past its size are not read") {
  const Known given = {first_size, 10, 20, 30};
  const auto read = gf::capi::read_options(&given, defaults, first_size, "options");
  REQUIRE(read.has_value());
  CHECK(read.value().first == 10);
  CHECK(read.value().second == 20);
  CHECK(read.value().added == 3);
}

TEST_CASE("a newer caller is accepted while its unknown tail is zero, and refused by byte when it is not") {
  Newer given = {{sizeof(Newer), 10, 20, 30}, {0, 0}};
  const auto read = gf::capi::read_options(&given.known, defaults, first_size, "options");
  REQUIRE(read.has_value());
  CHECK(read.value().added == 30);

  given.unknown[1] = 1;
  const auto refused = gf::capi::read_options(&given.known, defaults, first_size, "options");
  REQUIRE(refused.has_error());
  CHECK(refused.error().status == Status::unsupported);
  CHECK(refused.error().message.find("at its byte 32") != std::string::npos);
}

TEST_CASE("sizes below the first release and above 4096 are refused by name") {
  for (const std::uint32_t size : {0u, 4u, 15u, 4097u, 0xFFFFFFFFu}) {
    CAPTURE(size);
    Known given = {size, 0, 0, 0};
    const auto read = gf::capi::read_options(&given, defaults, first_size, "options");
    REQUIRE(read.has_error());
    CHECK(read.error().status == Status::invalid_argument);
    CHECK(read.error().message.find("options->struct_size is " + std::to_string(size)) == 0);
    const auto out = gf::capi::check_out(&given, first_size, "out_info");
    REQUIRE(out.has_error());
    CHECK(out.error().status == Status::invalid_argument);
  }
  CHECK(gf::capi::check_out<Known>(nullptr, first_size, "out_info").error().message == "out_info is NULL");
}

TEST_CASE("a struct out gets at most its own size, and its struct_size stays") {
  const Known value = {sizeof(Known), 10, 20, 30};
  Known older;
  std::memset(&older, 0xAA, sizeof older);
  older.struct_size = first_size;
  gf::capi::write_out(&older, value);
  CHECK(older.struct_size == first_size);
  CHECK(older.first == 10);
  CHECK(older.second == 20);
  CHECK(older.added == 0xAAAAAAAAAAAAAAAAu);

  Newer newer;
  std::memset(&newer, 0xAA, sizeof newer);
  newer.known.struct_size = sizeof(Newer);
  gf::capi::write_out(&newer.known, value);
  CHECK(newer.known.struct_size == sizeof(Newer));
  CHECK(newer.known.added == 30);
  CHECK(newer.unknown[0] == 0xAAAAAAAAAAAAAAAAu);
}
