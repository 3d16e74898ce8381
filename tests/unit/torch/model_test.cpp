#include "base/platform.hpp"
#include "fixtures.hpp"
#include "torch/run.hpp"

#include <c10/core/InferenceMode.h>
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <fstream>

namespace {

using namespace gf::torch;
using fixtures::TestCall;
namespace fs = std::filesystem;

fs::path shipped_model() { return fs::path(MODELS_DIR) / "gameforge-tiles"; }

}  // namespace

DOCTEST_TEST_CASE("a load can be cancelled at every question, and gives everything back") {
  const c10::InferenceMode inference;
  // How often a whole load asks.
  int questions = 0;
  {
    support::FileHost files;
    const Host host(files.table());
    TestCall call([&] {
      ++questions;
      return false;
    });
    DOCTEST_REQUIRE(Model::load(host, fixtures::golden_model().string(), 0, call.call()).has_value());
    DOCTEST_CHECK(files.held_bytes() == 0);  // The model is gone again.
  }
  DOCTEST_CHECK(questions > 500);  // Once a tensor at least.
  for (int at = 0; at < questions; at += questions / 20) {
    DOCTEST_CAPTURE(at);
    support::FileHost files;
    const Host host(files.table());
    int asked = 0;
    TestCall call([&] { return asked++ >= at; });
    const auto loaded = Model::load(host, fixtures::golden_model().string(), 0, call.call());
    DOCTEST_REQUIRE(loaded.has_error());
    DOCTEST_CHECK(loaded.error().status == gf::Status::cancelled);
    DOCTEST_CHECK(asked == at + 1);  // It stopped at once.
    DOCTEST_CHECK(files.held_bytes() == 0);
    DOCTEST_CHECK(files.open_files() == 0);
  }
}

DOCTEST_TEST_CASE("a budget below the weights refuses the load before memory is taken") {
  const c10::InferenceMode inference;
  support::FileHost files;
  files.limit_bytes = 1'000'000;
  const Host host(files.table());
  TestCall call;
  bool progressed = false;
  call.on_progress = [&](std::uint32_t, std::uint64_t, std::uint64_t) { progressed = true; };
  const auto loaded = Model::load(host, fixtures::golden_model().string(), 0, call.call());
  DOCTEST_REQUIRE(loaded.has_error());
  DOCTEST_CHECK(loaded.error().status == gf::Status::over_budget);
  DOCTEST_CHECK_FALSE(progressed);
  DOCTEST_CHECK(files.peak_bytes() == 0);
}

DOCTEST_TEST_CASE("loading takes the weights and at most 64 MiB more") {
  const c10::InferenceMode inference;
  support::FileHost files;
  const Host host(files.table());
  TestCall call;
  // Once before, so that libtorch's own start is not counted.
  DOCTEST_REQUIRE(Model::load(host, fixtures::golden_model().string(), 0, call.call()).has_value());
  const auto before = gf::resident_bytes();
  std::uint64_t most = 0;
  call.on_progress = [&](std::uint32_t, std::uint64_t done, std::uint64_t total) {
    DOCTEST_REQUIRE(done <= total);
    most = std::max(most, gf::resident_bytes());
  };
  const auto loaded = Model::load(host, shipped_model().string(), 0, call.call());
  DOCTEST_REQUIRE(loaded.has_value());
  most = std::max(most, gf::resident_bytes());
  const auto weights = loaded.value()->weight_bytes();
  DOCTEST_CHECK(weights == files.held_bytes());
  DOCTEST_MESSAGE(fmt::format("weights {} KiB, peak over the start {} KiB", weights >> 10, (most - before) >> 10));
#if !defined(__SANITIZE_ADDRESS__)  // The sanitizer's shadow and quarantine are not ours.
  DOCTEST_CHECK(most - before <= weights + (64 << 20));
#endif
}

DOCTEST_TEST_CASE("a model whose weights are damaged never gives a picture: not finite is an error") {
  const c10::InferenceMode inference;
  const fixtures::TemporaryFolder folder;
  fs::copy(fixtures::golden_model(), folder.path(), fs::copy_options::recursive);
  const auto damage = [&](const std::string& file, const std::string& name) {
    const auto path = folder / file;
    const auto opened = gf::Safetensors::open(path);
    DOCTEST_REQUIRE(opened.has_value());
    const auto* entry = opened.value().find(name);
    DOCTEST_REQUIRE(entry != nullptr);
    std::fstream raw(path, std::ios::in | std::ios::out | std::ios::binary);
    raw.seekp(static_cast<std::streamoff>(entry->offset));
    raw.write("\x00\x7e", 2);  // A half-precision NaN.
  };
  support::FileHost files;
  const Host host(files.table());
  const TestCall call;
  const auto generate = [&]() -> gf::Result<void> {
    GF_TRY(const auto model, Model::load(host, folder.path(), 0, call.call()));
    Prompts prompts;
    prompts.prompt = "a castle";
    GF_TRY(const auto conditioning, model->encode(prompts, call.call()));
    RunOptions options;
    options.width = options.height = 64;
    options.steps = 2;
    options.scheduler = model->scheduler();
    options.sizes = {64, 64, 0, 0, 64, 64};
    GF_TRY(const auto run, Run::start(*model, conditioning, options, call.call()));
    GF_TRYV(run->step(call.call()));
    GF_TRYV(run->step(call.call()));
    GF_TRYV(run->decode(call.call()));
    return gf::success();
  };
  DOCTEST_REQUIRE(generate().has_value());
  struct Row {
    const char* file;
    const char* tensor;
    const char* named;
  };
  for (const auto& row :
       {Row{"text_encoder/model.fp16.safetensors", "text_model.encoder.layers.0.mlp.fc1.weight", "text encoders"},
        Row{"unet/diffusion_pytorch_model.fp16.safetensors", "conv_in.weight", "latents"},
        Row{"vae/diffusion_pytorch_model.fp16.safetensors", "decoder.conv_in.weight", "decoder"}}) {
    DOCTEST_CAPTURE(row.tensor);
    const auto path = folder / row.file;
    fs::copy_file(path, folder / "kept");
    damage(row.file, row.tensor);
    const auto generated = generate();
    DOCTEST_REQUIRE(generated.has_error());
    DOCTEST_CHECK(generated.error().status == gf::Status::not_finite);
    DOCTEST_CHECK(generated.error().message.find(row.named) != std::string::npos);
    fs::rename(folder / "kept", path);
  }
}
