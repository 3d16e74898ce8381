#include "base/safetensors.hpp"

#include "../../support/files.hpp"
#include "base/json.hpp"
#include "base/platform.hpp"

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <random>
#include <string>
#include <vector>

using gf::Safetensors;
using gf::Status;
using gf::TensorType;
using gf::test::TemporaryFolder;

namespace {

const std::string golden = GAMEFORGE_GOLDEN_DIR;

/// A file with the given header text, then `data_bytes` of zeros.
void put(const std::string& path, std::string_view header, std::size_t data_bytes) {
  std::string bytes(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) bytes[i] = static_cast<char>(header.size() >> (8 * i));
  bytes += header;
  bytes.append(data_bytes, '\0');
  REQUIRE(gf::write_whole(path, bytes).has_value());
}

/// float32 of a half by its definition in IEEE 754-2008, section 3.4.
float half_by_definition(std::uint16_t bits) {
  const int exponent = (bits >> 10) & 31;
  const int fraction = bits & 1023;
  const float sign = (bits & 0x8000) != 0 ? -1.0f : 1.0f;
  if (exponent == 31) {
    return fraction == 0 ? sign * std::numeric_limits<float>::infinity() : std::numeric_limits<float>::quiet_NaN();
  }
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(fraction), -24);
  return sign * std::ldexp(static_cast<float>(1024 + fraction), exponent - 25);
}

}  // namespace

TEST_CASE("golden: each file of the malformed set has the outcome that its manifest lists") {
  const auto text = gf::read_text(golden + "/cases/malformed_safetensors/manifest.json", 1 << 20);
  REQUIRE(text.has_value());
  const auto parsed = gf::parse_json(text.value(), "manifest.json");
  const auto& manifest = *parsed.value();
  const auto& files = manifest.at("params").at("files");
  CHECK(files.size() == 50);
  std::size_t loading = 0;
  std::size_t pickles = 0;
  for (const auto& row : files) {
    const auto name = row.at("file").get<std::string>();
    const auto expected = row.at("expected").get<std::string>();
    const auto path = golden + "/" + name;
    CAPTURE(name);
    REQUIRE(std::filesystem::file_size(path) == row.at("bytes").get<std::uint64_t>());

    const auto before = gf::peak_resident_bytes();
    const auto file = Safetensors::open(path);
    CHECK(gf::peak_resident_bytes() - before < (64u << 20));  // The largest file has 400 KB.
    if (expected == "loads") {
      ++loading;
      CHECK(file.has_value());
      continue;
    }
    // "loads or a clear error" leaves the choice to us; a crash is the only wrong answer there.
    if (file.has_value()) {
      CHECK(expected.find("loads") != std::string::npos);
      continue;
    }
    const auto& error = file.error();
    CAPTURE(error.message);
    CHECK(static_cast<int>(error.status) / 100 == 4);
    CHECK(error.message.starts_with(path + ": "));
    CHECK(error.message.size() > path.size() + 10);
    if (name.find("pickle") != std::string::npos) {
      ++pickles;
      CHECK(error.status == Status::unsupported_format);
      CHECK(error.message.find("pickle") != std::string::npos);
      CHECK(error.message.find("code") != std::string::npos);  // Why: reading one runs what it says.
    }
    if (name.find("git_lfs") != std::string::npos) CHECK(error.message.find("pointer") != std::string::npos);
  }
  CHECK(loading == 6);
  CHECK(pickles == 3);
  CHECK_FALSE(std::filesystem::exists("unpickled-by-mistake"));
}

TEST_CASE("golden: the untouched control gives its two tensors") {
  const auto file = Safetensors::open(golden + "/malformed/valid_control.safetensors");
  REQUIRE(file.has_value());
  REQUIRE(file.value().tensors().size() == 2);
  const auto* a = file.value().find("a");
  const auto* b = file.value().find("b");
  REQUIRE(a != nullptr);
  REQUIRE(b != nullptr);
  CHECK(a->shape == std::vector<std::int64_t>{4, 6});
  CHECK(a->type == TensorType::f32);
  CHECK(a->bytes == 96);
  CHECK(a->values() == 24);
  CHECK(b->shape == std::vector<std::int64_t>{3});
  CHECK(file.value().read_floats("a").value().size() == 24);
  CHECK(file.value().find("c") == nullptr);
}

TEST_CASE("golden: an empty tensor, a scalar and tensors at odd offsets are read") {
  const auto file = Safetensors::open(golden + "/malformed/valid_empty_tensor_and_scalar.safetensors").value();
  bool empty = false;
  bool scalar = false;
  for (const auto& [name, entry] : file.tensors()) {
    const auto values = file.read_floats(name);
    REQUIRE(values.has_value());
    CHECK(static_cast<std::int64_t>(values.value().size()) == entry.values());
    empty = empty || entry.bytes == 0;
    scalar = scalar || entry.shape.empty();
  }
  CHECK(empty);
  CHECK(scalar);
  const auto odd = Safetensors::open(golden + "/malformed/valid_unaligned_f16.safetensors").value();
  bool unaligned = false;
  for (const auto& [name, entry] : odd.tensors()) {
    CHECK(odd.read_floats(name).has_value() == gf::is_floating(entry.type));
    unaligned = unaligned || entry.offset % 2 != 0;
  }
  CHECK(unaligned);
}

TEST_CASE("metadata is text by text") {
  const auto file = Safetensors::open(golden + "/malformed/valid_metadata.safetensors").value();
  CHECK_FALSE(file.metadata().empty());
  CHECK(file.find("__metadata__") == nullptr);
}

TEST_CASE("property: what is written is read back, bit for bit") {
  TemporaryFolder folder;
  std::mt19937 random(3);
  for (int round = 0; round < 20; ++round) {
    CAPTURE(round);
    std::vector<std::vector<float>> values;
    std::vector<std::vector<std::int64_t>> shapes;
    const auto count = random() % 5;
    for (std::size_t i = 0; i < count; ++i) {
      std::vector<std::int64_t> shape;
      std::size_t total = 1;
      for (std::size_t d = random() % 4; d-- > 0;) {
        shape.push_back(random() % 6);
        total *= static_cast<std::size_t>(shape.back());
      }
      auto& mine = values.emplace_back(total);
      for (auto& value : mine) value = std::bit_cast<float>(static_cast<std::uint32_t>(random()));
      shapes.push_back(shape);
    }
    std::vector<gf::NamedFloats> tensors;
    for (std::size_t i = 0; i < count; ++i)
      tensors.push_back({"t\"" + std::to_string(count - i), shapes[i], values[i]});
    REQUIRE(gf::write_safetensors(folder.file("f"), tensors).has_value());
    const auto file = Safetensors::open(folder.file("f"));
    REQUIRE(file.has_value());
    CHECK(file.value().tensors().size() == count);
    for (const auto& tensor : tensors) {
      const auto* entry = file.value().find(tensor.name);
      REQUIRE(entry != nullptr);
      CHECK(entry->shape == tensor.shape);
      const auto got = file.value().read_floats(tensor.name).value();
      REQUIRE(got.size() == tensor.values.size());
      // memcmp, since some of the values are NaN; and not with no values, whose address may be null.
      if (!got.empty()) CHECK(std::memcmp(got.data(), tensor.values.data(), got.size() * 4) == 0);
    }
  }
}

TEST_CASE("a tensor that cannot be written right is refused by name, and no file is made") {
  TemporaryFolder folder;
  const float one[] = {1.0f};
  const auto refused = [&](std::vector<gf::NamedFloats> tensors) {
    const auto written = gf::write_safetensors(folder.file("f"), tensors);
    REQUIRE(written.has_error());
    CHECK(written.error().status == Status::invalid_argument);
    CHECK(written.error().message.find("\"x\"") != std::string::npos);
    CHECK(folder.entries() == 0);
  };
  refused({{"x", {2}, one}});
  refused({{"x", {0}, one}});
  refused({{"x", {-1, -1}, one}});                                       // Its product is 1 all the same.
  refused({{"x", {std::int64_t{1} << 32, std::int64_t{1} << 32}, {}}});  // Its product wraps to 0.
  refused({{"x", {1}, one}, {"x", {1}, one}});
}

TEST_CASE("the reserved name is no tensor's") {
  TemporaryFolder folder;
  const float one[] = {1.0f};
  CHECK(gf::write_safetensors(folder.file("f"), std::vector<gf::NamedFloats>{{"__metadata__", {1}, one}})
            .error()
            .status == Status::invalid_argument);
}

TEST_CASE("property: halves and bfloat16 are exact for all their values") {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const float got = gf::float_from_half(half);
    const float expected = half_by_definition(half);
    const bool same = std::isnan(expected)
                          ? std::isnan(got)
                          : std::bit_cast<std::uint32_t>(got) == std::bit_cast<std::uint32_t>(expected);
    if (!same) {
      CAPTURE(bits);
      REQUIRE(same);
    }
    REQUIRE(std::bit_cast<std::uint32_t>(gf::float_from_bfloat16(half)) == bits << 16);
  }
}

TEST_CASE("each floating type is widened, others are refused by name and type") {
  TemporaryFolder folder;
  const auto path = folder.file("f");
  std::string header =
      R"({"h":{"dtype":"F16","shape":[1],"data_offsets":[0,2]},"b":{"dtype":"BF16","shape":[1],"data_offsets":[2,4]},)"
      R"("f":{"dtype":"F32","shape":[1],"data_offsets":[4,8]},"d":{"dtype":"F64","shape":[1],"data_offsets":[8,16]},)"
      R"("i":{"dtype":"I32","shape":[1],"data_offsets":[16,20]},"q":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[20,21]}})";
  std::string bytes(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) bytes[i] = static_cast<char>(header.size() >> (8 * i));
  bytes += header;
  const std::uint16_t half = 0x3E00;   // 1.5
  const std::uint16_t brain = 0xC020;  // -2.5
  const float single = 3.25f;
  const double twice = -4.125;
  const auto append = [&bytes](const auto& value) {
    bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
  };
  append(half);
  append(brain);
  append(single);
  append(twice);
  bytes.append(5, '\0');
  REQUIRE(gf::write_whole(path, bytes).has_value());
  const auto file = Safetensors::open(path).value();
  CHECK(file.read_floats("h").value() == std::vector<float>{1.5f});
  CHECK(file.read_floats("b").value() == std::vector<float>{-2.5f});
  CHECK(file.read_floats("f").value() == std::vector<float>{3.25f});
  CHECK(file.read_floats("d").value() == std::vector<float>{-4.125f});
  for (const std::string name : {"i", "q"}) {
    const auto refused = file.read_floats(name);
    REQUIRE(refused.has_error());
    CHECK(refused.error().status == Status::unsupported_format);
    CHECK(refused.error().message.find("\"" + name + "\"") != std::string::npos);
  }
  CHECK(file.read_floats("none").error().status == Status::not_found);
}

TEST_CASE("golden: sizes and names of the types are the format's") {
  struct Row {
    TensorType type;
    std::string_view name;
    std::uint32_t bytes;
    bool floating;
  };
  // huggingface/safetensors 0.8, tensor.rs, enum Dtype.
  for (const auto& row : {Row{TensorType::boolean, "BOOL", 1, false}, Row{TensorType::u8, "U8", 1, false},
                          Row{TensorType::i8, "I8", 1, false}, Row{TensorType::f8_e5m2, "F8_E5M2", 1, true},
                          Row{TensorType::f8_e4m3, "F8_E4M3", 1, true}, Row{TensorType::i16, "I16", 2, false},
                          Row{TensorType::u16, "U16", 2, false}, Row{TensorType::f16, "F16", 2, true},
                          Row{TensorType::bf16, "BF16", 2, true}, Row{TensorType::i32, "I32", 4, false},
                          Row{TensorType::u32, "U32", 4, false}, Row{TensorType::f32, "F32", 4, true},
                          Row{TensorType::i64, "I64", 8, false}, Row{TensorType::u64, "U64", 8, false},
                          Row{TensorType::f64, "F64", 8, true}}) {
    CAPTURE(row.name);
    CHECK(gf::name_of(row.type) == row.name);
    CHECK(gf::bytes_per_value(row.type) == row.bytes);
    CHECK(gf::is_floating(row.type) == row.floating);
  }
  const std::int64_t sides[] = {4, 16, 3};
  CHECK(gf::shape_text(sides) == "[4, 16, 3]");
  CHECK(gf::shape_text({}) == "[]");
}

TEST_CASE("a read must lie inside its tensor") {
  TemporaryFolder folder;
  put(folder.file("f"),
      R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})",
      8);
  const auto file = Safetensors::open(folder.file("f")).value();
  const auto& a = *file.find("a");
  std::byte into[5];
  CHECK(file.read(a, 0, std::span(into).first(4)).has_value());
  CHECK(file.read(a, 4, std::span(into).first(0)).has_value());
  CHECK(file.read(a, 0, std::span(into)).error().status == Status::internal);
  CHECK(file.read(a, 3, std::span(into).first(2)).error().status == Status::internal);
  CHECK(file.read(a, ~std::uint64_t{0}, std::span(into).first(2)).error().status == Status::internal);
}

TEST_CASE("a file that shrinks between opening and reading gives an error") {
  TemporaryFolder folder;
  put(folder.file("f"), R"({"a":{"dtype":"F32","shape":[1000],"data_offsets":[0,4000]}})", 4000);
  const auto file = Safetensors::open(folder.file("f")).value();
  std::filesystem::resize_file(folder.file("f"), 2000);
  const auto values = file.read_floats("a");
  REQUIRE(values.has_error());
  CHECK(values.error().status == Status::corrupt_file);
}

TEST_CASE("an entry with an unknown key, or too many dimensions, is refused with the tensor's name") {
  TemporaryFolder folder;
  for (const std::string_view header :
       {R"({"tall":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"strides":[1]}})",
        R"({"tall":{"dtype":"U8","shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],"data_offsets":[0,1]}})", R"({"tall":[]})",
        R"({"tall":{"dtype":"U8","shape":[18446744073709551615],"data_offsets":[0,1]}})",
        R"({"tall":{"dtype":"U8","shape":[1.0],"data_offsets":[0,1]}})",
        R"({"tall":{"dtype":"U8","shape":[true],"data_offsets":[0,1]}})"}) {
    CAPTURE(header);
    put(folder.file("f"), header, 1);
    const auto file = Safetensors::open(folder.file("f"));
    REQUIRE(file.has_error());
    CHECK(file.error().status == Status::corrupt_file);
    CHECK(file.error().message.find("\"tall\"") != std::string::npos);
  }
}
