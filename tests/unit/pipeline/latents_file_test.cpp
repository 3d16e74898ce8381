#include "pipeline/latents_file.hpp"

#include "base/files.hpp"
#include "base/safetensors.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include <unistd.h>

using gf::Status;
using gf::pipeline::LatentsShape;

namespace {

/// A folder that is gone when the test case ends.
struct Folder {
  std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("gameforge_latents_test_" + std::to_string(::getpid()));
  Folder() { std::filesystem::create_directories(path); }
  ~Folder() { std::filesystem::remove_all(path); }
  std::string operator/(const char* name) const { return (path / name).string(); }
};

/// A safetensors file with the header `header` and `bytes` behind it.
void write_raw(const std::string& path, const std::string& header, const std::string& bytes) {
  std::string text(8, '\0');
  const std::uint64_t length = header.size();
  std::memcpy(text.data(), &length, 8);
  REQUIRE(gf::write_whole(path, text + header + bytes).has_value());
}

std::vector<float> normals(std::size_t count) {
  std::mt19937 random(11);
  std::normal_distribution<float> draw;
  std::vector<float> values(count);
  for (auto& value : values) value = draw(random);
  return values;
}

}  // namespace

TEST_CASE("latents that are written are read back bit for bit, with their shape") {
  const Folder folder;
  for (const LatentsShape& shape : {LatentsShape{1, 4, 16, 16}, {3, 4, 5, 7}, {1, 1, 1, 1}}) {
    const auto values = normals(std::size_t{shape[0]} * shape[1] * shape[2] * shape[3]);
    REQUIRE(gf::pipeline::write_latents(folder / "a.safetensors", values, shape).has_value());
    const auto back = gf::pipeline::read_latents(folder / "a.safetensors");
    REQUIRE(back.has_value());
    CHECK(back.value().shape == shape);
    CHECK(back.value().values == values);
    CHECK(gf::pipeline::read_latents_shape(folder / "a.safetensors").value() == shape);
  }
}

TEST_CASE("half precision is widened exactly") {
  const Folder folder;
  // 1, -2, 65504 (the largest half), 2^-24 (the smallest subnormal); IEEE 754 binary16.
  const std::uint16_t halves[] = {0x3C00, 0xC000, 0x7BFF, 0x0001};
  write_raw(folder / "h.safetensors", R"({"latents":{"dtype":"F16","shape":[1,1,2,2],"data_offsets":[0,8]}})",
            std::string(reinterpret_cast<const char*>(halves), 8));
  const auto back = gf::pipeline::read_latents(folder / "h.safetensors");
  REQUIRE(back.has_value());
  CHECK(back.value().values == std::vector<float>{1.0f, -2.0f, 65504.0f, 5.9604644775390625e-8f});

  const std::uint16_t brains[] = {0x3F80, 0xC000, 0x4049, 0x0000};  // 1, -2, 3.140625, 0; bfloat16.
  write_raw(folder / "b.safetensors", R"({"latents":{"dtype":"BF16","shape":[1,1,2,2],"data_offsets":[0,8]}})",
            std::string(reinterpret_cast<const char*>(brains), 8));
  CHECK(gf::pipeline::read_latents(folder / "b.safetensors").value().values ==
        std::vector<float>{1.0f, -2.0f, 3.140625f, 0.0f});
}

TEST_CASE("a file that holds something else is refused, with its name and what it holds") {
  const Folder folder;
  struct Row {
    std::string header;
    std::size_t bytes;
    std::string named;
  };
  const std::vector<Row> rows = {
      {R"({})", 0, "it holds no tensor"},
      {R"({"noise":{"dtype":"F32","shape":[1,1,1,1],"data_offsets":[0,4]}})", 4, "it holds `noise`"},
      {R"({"latents":{"dtype":"F64","shape":[1,1,1,1],"data_offsets":[0,8]}})", 8, "`latents` are F64"},
      {R"({"latents":{"dtype":"I32","shape":[1,1,1,1],"data_offsets":[0,4]}})", 4, "`latents` are I32"},
      {R"({"latents":{"dtype":"F32","shape":[1,1,1],"data_offsets":[0,4]}})", 4, "`latents` is [1, 1, 1]"},
      {R"({"latents":{"dtype":"F32","shape":[1,1,1,1,1],"data_offsets":[0,4]}})", 4, "`latents` is [1, 1, 1, 1, 1]"},
      {R"({"latents":{"dtype":"F32","shape":[0,4,2,2],"data_offsets":[0,0]}})", 0, "`latents` is [0, 4, 2, 2]"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.header);
    write_raw(folder / "x.safetensors", row.header, std::string(row.bytes, '\0'));
    const auto refused = gf::pipeline::read_latents(folder / "x.safetensors");
    REQUIRE(refused.has_error());
    CHECK(refused.error().status == Status::unsupported_format);
    CHECK(refused.error().message.find("x.safetensors") != std::string::npos);
    CHECK(refused.error().message.find(row.named) != std::string::npos);
    CHECK(gf::pipeline::read_latents_shape(folder / "x.safetensors").has_error());
  }
}

TEST_CASE("a missing file and a truncated one have their own statuses") {
  const Folder folder;
  CHECK(gf::pipeline::read_latents(folder / "none.safetensors").error().status == Status::not_found);
  write_raw(folder / "short.safetensors", R"({"latents":{"dtype":"F32","shape":[1,4,2,2],"data_offsets":[0,64]}})",
            std::string(60, '\0'));
  CHECK(gf::pipeline::read_latents(folder / "short.safetensors").error().status == Status::corrupt_file);
}

TEST_CASE("a shape that does not fit its values is refused, and nothing is written") {
  const Folder folder;
  const std::vector<float> values(16);
  const auto huge = std::numeric_limits<std::uint32_t>::max();
  for (const LatentsShape& shape : {LatentsShape{0, 4, 2, 2},
                                    {1, 4, 2, 1},
                                    {1, 4, 2, 3},
                                    {3, 5, 1, 1},
                                    {16, 16, 1, 1},
                                    {huge, huge, huge, huge},
                                    {2, 8, 1, 0}}) {
    const auto refused = gf::pipeline::write_latents(folder / "y.safetensors", values, shape);
    REQUIRE(refused.has_error());
    CHECK(refused.error().status == Status::invalid_argument);
  }
  CHECK(gf::pipeline::write_latents(folder / "y.safetensors", {}, {1, 1, 1, 1}).has_error());
  CHECK_FALSE(std::filesystem::exists(folder / "y.safetensors"));
}
