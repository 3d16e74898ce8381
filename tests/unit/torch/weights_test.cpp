#include "torch/weights.hpp"
#include "fixtures.hpp"
#include "torch/layers.hpp"

#include <c10/core/InferenceMode.h>
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <fstream>
#include <random>

namespace {

using namespace gf::torch;
using fixtures::TemporaryFolder;
using fixtures::TestCall;
namespace fs = std::filesystem;

std::vector<float> counting(std::size_t count, float first = 0) {
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = first + static_cast<float>(i);
  return values;
}

void write(const fs::path& path, const std::vector<gf::NamedFloats>& tensors) {
  DOCTEST_REQUIRE(gf::write_safetensors(path.string(), tensors).has_value());
}

gf::Result<void> read_all(const Host& host, const fs::path& folder, WeightList& list) {
  GF_TRY(auto reader, WeightReader::open(host, folder.string(), "model"));
  GF_TRYV(reader.check(list));
  TestCall call;
  LoadProgress progress{call.call()};
  return reader.read(list, progress);
}

}  // namespace

DOCTEST_TEST_CASE("weights land in their slots: whole, channels last, stacked and split") {
  const c10::InferenceMode inference;
  const TemporaryFolder folder;
  const auto a = counting(24), b = counting(6, 100), c = counting(12, 200), d = counting(8, 300);
  write(folder / "model.safetensors",
        {{"conv", {2, 3, 2, 2}, a}, {"q", {2, 3}, b}, {"k", {4, 3}, c}, {"pair", {4, 2}, d}});
  support::FileHost files;
  const Host host(files.table());
  at::Tensor conv, stacked, first, second;
  WeightList list;
  list.add("conv", {2, 3, 2, 2}, &conv, Layout::channels_last);
  list.add_stacked({{"q", 2}, {"k", 4}}, {3}, &stacked);
  list.add_split("pair", {4, 2}, std::vector<at::Tensor*>{&first, &second});
  DOCTEST_REQUIRE(read_all(host, folder.path(), list).has_value());
  DOCTEST_CHECK(conv.is_contiguous(at::MemoryFormat::ChannelsLast));
  DOCTEST_CHECK(at::equal(conv.contiguous().flatten(), at::tensor(a)));
  DOCTEST_CHECK(at::equal(stacked.narrow(0, 0, 2).flatten(), at::tensor(b)));
  DOCTEST_CHECK(at::equal(stacked.narrow(0, 2, 4).flatten(), at::tensor(c)));
  DOCTEST_CHECK(at::equal(at::cat({first, second}).flatten(), at::tensor(d)));
  DOCTEST_CHECK(files.open_files() == 0);
}

DOCTEST_TEST_CASE("a model in several files is read through its index, which names files of its folder alone") {
  const c10::InferenceMode inference;
  const TemporaryFolder folder;
  const auto a = counting(4), b = counting(4, 10);
  write(folder / "model-1.safetensors", {{"a", {4}, a}});
  write(folder / "model-2.safetensors", {{"b", {4}, b}});
  const auto index = folder / "model.safetensors.index.json";
  std::ofstream(index) << R"({"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}})";
  support::FileHost files;
  const Host host(files.table());
  at::Tensor first, second;
  WeightList list;
  list.add("a", {4}, &first);
  list.add("b", {4}, &second);
  DOCTEST_REQUIRE(read_all(host, folder.path(), list).has_value());
  DOCTEST_CHECK(at::equal(second, at::tensor(b)));

  for (const char* name : {"../elsewhere.safetensors", "/etc/passwd", "sub/model.safetensors", "model.bin"}) {
    DOCTEST_CAPTURE(name);
    std::ofstream(index) << fmt::format(R"({{"weight_map": {{"a": "{}"}}}})", name);
    const auto opened = WeightReader::open(host, folder.path(), "model");
    DOCTEST_REQUIRE(opened.has_error());
    DOCTEST_CHECK(opened.error().status == gf::Status::corrupt_file);
    DOCTEST_CHECK(opened.error().message.find(index) != std::string::npos);
  }
}

DOCTEST_TEST_CASE("a folder with a pickled file alone is refused by name") {
  const TemporaryFolder folder;
  std::ofstream(folder / "pytorch_model.bin") << "PK";
  support::FileHost files;
  const Host host(files.table());
  const auto opened = WeightReader::open(host, folder.path(), "model");
  DOCTEST_REQUIRE(opened.has_error());
  DOCTEST_CHECK(opened.error().status == gf::Status::not_found);
  DOCTEST_CHECK(opened.error().message.find("pickled") != std::string::npos);
}

DOCTEST_TEST_CASE(
    "a weights file that is cut, extended or overwritten while it is read gives a typed error, 100 rounds") {
  const c10::InferenceMode inference;
  const TemporaryFolder folder;
  const auto source = fixtures::golden_model() / "unet/diffusion_pytorch_model.fp16.safetensors";
  const auto target = folder / "model.safetensors";
  std::mt19937 random(20261125);
  int refused = 0;
  for (int round = 0; round < 100; ++round) {
    DOCTEST_CAPTURE(round);
    fs::copy_file(source, target, fs::copy_options::overwrite_existing);
    const auto size = fs::file_size(target);
    support::FileHost files;
    const Host host(files.table());
    auto reader = WeightReader::open(host, folder.path(), "model");
    DOCTEST_REQUIRE(reader.has_value());
    // Two of the tensors, so that a round is quick.
    at::Tensor in, out;
    WeightList list;
    list.add("conv_in.weight", {16, 4, 3, 3}, &in, Layout::channels_last);
    list.add("conv_out.weight", {4, 16, 3, 3}, &out, Layout::channels_last);
    DOCTEST_REQUIRE(reader.value().check(list).has_value());
    const int how = round % 4;
    bool done = false;
    files.before_read = [&](const std::string&, std::uint64_t) {
      if (done) return;
      done = true;
      switch (how) {
        case 0:
          fs::resize_file(target, random() % size);
          break;
        case 1:
          fs::resize_file(target, size + 1 + random() % 4096);
          break;
        case 2: {  // Overwritten in place: same size, other bytes.
          std::fstream file(target, std::ios::in | std::ios::out | std::ios::binary);
          file.seekp(static_cast<std::streamoff>(random() % (size - 8)));
          file.write("overwrit", 8);
          break;
        }
        default: {  // Replaced under its name, as a download does.
          const auto other = folder / "other";
          fs::copy_file(source, other);
          fs::rename(other, target);
        }
      }
    };
    TestCall call;
    LoadProgress progress{call.call()};
    const auto read = reader.value().read(list, progress);
    DOCTEST_REQUIRE(done);
    DOCTEST_REQUIRE(read.has_error());
    DOCTEST_CHECK(read.error().status == gf::Status::corrupt_file);
    DOCTEST_CHECK(read.error().message.find(target) != std::string::npos);
    ++refused;
  }
  DOCTEST_CHECK(refused == 100);
}

DOCTEST_TEST_CASE("packed layers give what plain ones give, for the expected size and for any other") {
  const c10::InferenceMode inference;
  Linear linear;
  linear.weight = at::randn({320, 160});
  linear.bias = at::randn({320});
  auto packed_linear = linear;
  packed_linear.pack(64);
  DOCTEST_REQUIRE(packed_linear.packed.defined());
  for (const std::int64_t rows : {1, 3, 64, 200}) {
    DOCTEST_CAPTURE(rows);
    const auto x = at::randn({2, rows, 160});
    // Sums of 160 products of normal numbers: about 13, of which float32 keeps six digits.
    DOCTEST_CHECK(at::allclose(packed_linear.forward(x), linear.forward(x), 1e-4, 1e-4));
    DOCTEST_CHECK(at::allclose(packed_linear.forward_gelu(x), linear.forward_gelu(x), 1e-4, 1e-4));
  }
  Linear small;
  small.weight = at::randn({8, 8});
  small.pack(4);
  DOCTEST_CHECK_FALSE(small.packed.defined());

  Conv conv;
  conv.weight = at::randn({48, 32, 3, 3}).contiguous(at::MemoryFormat::ChannelsLast);
  conv.bias = at::randn({48});
  auto packed_conv = conv;
  packed_conv.pack(2, 8, 12);
  DOCTEST_REQUIRE(packed_conv.packed.defined());
  for (const auto& shape : {std::vector<std::int64_t>{2, 32, 8, 12}, {1, 32, 8, 12}, {2, 32, 5, 7}, {3, 32, 16, 16}}) {
    const auto x = at::randn(shape).contiguous(at::MemoryFormat::ChannelsLast);
    DOCTEST_CHECK(at::allclose(packed_conv.forward(x), conv.forward(x), 1e-4, 1e-3));
  }
}
