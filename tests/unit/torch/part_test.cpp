#include "torch/part.hpp"
#include "fixtures.hpp"
#include "torch/allocator.hpp"
#include "torch/run.hpp"

#include <c10/core/InferenceMode.h>
#include <c10/util/Exception.h>
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <fstream>
#include <string>
#include <vector>

namespace {

using namespace gf::torch;
namespace fs = std::filesystem;

constexpr std::uint32_t cpu = 0;

/// A model, and how much the ledger counted while something was done with it.
struct World {
  support::FileHost files;
  Host host{files.table()};
  fixtures::TestCall call;
  std::unique_ptr<Model> model;

  explicit World(const std::string& folder, std::uint32_t thrift = 0) {
    call.set_thrift(thrift);
    const Charging charging(host, cpu, GF_BACKEND_MEMORY_ACTIVATIONS);
    model = Model::load(host, folder, cpu, call.call()).value();
  }

  RunOptions options(std::int64_t side) const {
    RunOptions out;
    out.width = out.height = side;
    out.steps = 3;
    out.scheduler = model->scheduler();
    out.sizes = {side, side, 0, 0, side, side};
    return out;
  }

  at::Tensor picture(const Model& of, const RunOptions& options) {
    const Charging charging(host, cpu, GF_BACKEND_MEMORY_ACTIVATIONS);
    Prompts prompts;
    prompts.prompt = "a red potion";
    prompts.negative = "blue";
    const auto conditioning = of.encode(prompts, call.call()).value();
    const auto run = Run::start(of, conditioning, options, call.call()).value();
    while (run->done() < run->steps()) DOCTEST_REQUIRE(run->step(call.call()).has_value());
    return run->decode(call.call()).value();
  }
};

std::string shipped() { return (fs::path(MODELS_DIR) / "gameforge-tiles").string(); }

}  // namespace

DOCTEST_TEST_CASE("a model whose parts come and go makes the same pictures to the bit, and holds less") {
  const c10::InferenceMode inference;
  World whole(shipped());
  World thrifty(shipped(), GF_BACKEND_THRIFT_PARTS);
  DOCTEST_CHECK(thrifty.files.held_bytes() == 0);
  DOCTEST_CHECK(thrifty.model->weight_bytes() == 0);
  const auto options = whole.options(32);
  const auto picture = whole.picture(*whole.model, options);
  for (int i = 0; i < 2; ++i) {
    DOCTEST_CHECK(at::equal(thrifty.picture(*thrifty.model, options), picture));
  }
  DOCTEST_MESSAGE(
      fmt::format("peaks: {} KiB and {} KiB", whole.files.peak_bytes() >> 10, thrifty.files.peak_bytes() >> 10));
  DOCTEST_CHECK(thrifty.files.peak_bytes() < whole.files.peak_bytes() * 2 / 3);

  // From a picture: what encodes it comes and goes too.
  auto from = options;
  from.image = picture * 2 - 1;
  from.strength = 0.7;
  DOCTEST_CHECK(at::equal(thrifty.picture(*thrifty.model, from), whole.picture(*whole.model, from)));

  // And a call that is not thrifty any more has all of it again.
  thrifty.call.set_thrift(0);
  DOCTEST_CHECK(at::equal(thrifty.picture(*thrifty.model, options), picture));
  DOCTEST_CHECK(thrifty.model->weight_bytes() > whole.files.held_bytes() / 2);
}

DOCTEST_TEST_CASE("the parts of a model with LoRA files come and go with theirs") {
  const c10::InferenceMode inference;
  World whole(shipped());
  World thrifty(shipped(), GF_BACKEND_THRIFT_PARTS);
  const auto with = [&](World& world) {
    std::vector<LoraUse> uses;
    for (const auto* name : {"frost", "ember"}) {
      auto file = LoraFile::open(world.host, shipped() + "/loras/" + name + ".safetensors", world.call.call()).value();
      uses.push_back({std::move(file), 0.6});
    }
    std::vector<std::string> warnings;
    return world.model->with_loras(std::move(uses), true, world.call.call(), warnings).value();
  };
  const auto patched = with(whole);
  const auto patched_thriftily = with(thrifty);
  DOCTEST_CHECK(thrifty.files.held_bytes() == 0);
  const auto options = whole.options(32);
  const auto picture = whole.picture(*patched, options);
  DOCTEST_CHECK(at::equal(thrifty.picture(*patched_thriftily, options), picture));
  DOCTEST_CHECK(at::equal(thrifty.picture(*thrifty.model, options), whole.picture(*whole.model, options)));
  DOCTEST_CHECK(at::equal(thrifty.picture(*patched_thriftily, options), picture));
  DOCTEST_CHECK(thrifty.files.peak_bytes() < whole.files.peak_bytes() * 7 / 10);
}

DOCTEST_TEST_CASE("who uses a part keeps it; it is not held twice, and a file that changed meanwhile is refused") {
  const c10::InferenceMode inference;
  const fixtures::TemporaryFolder folder;
  fs::copy(fixtures::golden_model(), folder.path(), fs::copy_options::recursive);
  World world(folder.path());
  const auto held = world.files.held_bytes();
  {
    const auto kept = world.model->use_unet(world.call.call()).value();
    world.call.set_thrift(GF_BACKEND_THRIFT_PARTS);
    const auto decoder = world.model->use_decoder(world.call.call()).value();
    DOCTEST_CHECK(world.files.held_bytes() < held);   // The encoders are gone,
    const auto with_unet = world.files.held_bytes();  // and the UNet is not,
    const auto again = world.model->use_unet(world.call.call()).value();
    DOCTEST_CHECK(again == kept);  // which is the one that is used.
    DOCTEST_CHECK(world.files.held_bytes() <= with_unet);
  }
  const auto path = folder / "text_encoder/model.fp16.safetensors";
  {
    std::ofstream file(path, std::ios::app);
    file << "more";
  }
  const auto changed = world.model->use_text(0, world.call.call());
  DOCTEST_REQUIRE(changed.has_error());
  DOCTEST_CHECK(changed.error().status == gf::Status::corrupt_file);
  DOCTEST_CHECK(changed.error().message.find("text_encoder") != std::string::npos);
}

DOCTEST_TEST_CASE("a step that ends without memory is done again, and the picture is the same") {
  const c10::InferenceMode inference;
  World world(fixtures::golden_model().string());
  const auto options = world.options(64);
  const auto picture = world.picture(*world.model, options);
  Prompts prompts;
  prompts.prompt = "a red potion";
  prompts.negative = "blue";
  const auto conditioning = world.model->encode(prompts, world.call.call()).value();
  const Charging charging(world.host, cpu, GF_BACKEND_MEMORY_ACTIVATIONS);
  const auto run = Run::start(*world.model, conditioning, options, world.call.call()).value();
  DOCTEST_REQUIRE(run->step(world.call.call()).has_value());
  world.files.limit_bytes = world.files.held_bytes() + 1000;
  DOCTEST_CHECK_THROWS_AS((void)run->step(world.call.call()), c10::OutOfMemoryError);
  world.files.limit_bytes = UINT64_MAX;
  while (run->done() < run->steps()) DOCTEST_REQUIRE(run->step(world.call.call()).has_value());
  world.files.limit_bytes = world.files.held_bytes() + 1000;
  DOCTEST_CHECK_THROWS_AS((void)run->decode(world.call.call()), c10::OutOfMemoryError);
  world.files.limit_bytes = UINT64_MAX;
  DOCTEST_CHECK(at::equal(run->decode(world.call.call()).value(), picture));
}

DOCTEST_TEST_CASE("a picture that is decoded in tiles holds less, and shows no borders") {
  const c10::InferenceMode inference;
  World world(fixtures::golden_model().string());
  const auto decoder = world.model->use_decoder(world.call.call()).value();
  const auto factor = world.model->vae_config().factor();
  std::vector<std::uint64_t> told;
  world.call.on_progress = [&](std::uint32_t, std::uint64_t done, std::uint64_t) { told.push_back(done); };
  const Charging charging(world.host, cpu, GF_BACKEND_MEMORY_ACTIVATIONS);
  const auto peak_of = [&](auto&& decode) {
    // The peak of this alone: a host of its own, for which the tensors are charged.
    support::FileHost files;
    const Host host(files.table());
    at::Tensor out;
    {
      const Charging inner(host, cpu, GF_BACKEND_MEMORY_ACTIVATIONS);
      out = decode();
      return std::pair(out.clone(), files.peak_bytes());
    }
  };
  at::manual_seed(7);
  // As smooth as latents of pictures are, and with some grain.
  const auto coarse = at::randn({1, world.model->vae_config().latent_channels, 9, 12});
  const auto latents =
      (at::upsample_bilinear2d(coarse, {72, 96}, false) + at::randn({1, coarse.size(1), 72, 96}) * 0.1) *
      world.model->vae_config().scaling_factor;
  const auto [whole, whole_peak] = peak_of([&] { return decoder->decode(latents); });
  const auto [tiled, tiled_peak] =
      peak_of([&] { return decoder->decode_in_tiles(latents, world.call.call()).value(); });
  DOCTEST_CHECK(told.size() == 3 * 5);  // Of 32 latents that share at least 12: at 0, 20, 40, and at 0, 16 to 64.
  DOCTEST_CHECK(told.back() == told.size());
  DOCTEST_CHECK(tiled.sizes() == whole.sizes());
  DOCTEST_MESSAGE(fmt::format("peaks: {} KiB whole, {} KiB in tiles", whole_peak >> 10, tiled_peak >> 10));
  DOCTEST_CHECK(tiled_peak < whole_peak / 2);

  // Where a tile begins or ends its weight is next to nothing: the differences from the whole picture change no faster
  // there than elsewhere.
  const auto difference = (tiled - whole).mean(1).squeeze(0);
  const auto jumps =
      (difference.narrow(1, 1, difference.size(1) - 1) - difference.narrow(1, 0, difference.size(1) - 1)).abs().mean(0);
  double at_borders = 0;
  for (const auto start : {16, 32, 48, 64}) {
    for (const auto column : {start, start + 32}) {
      const auto pixel = column * factor - 1;
      if (pixel < jumps.size(0)) at_borders = std::max(at_borders, jumps[pixel].item<double>());
    }
  }
  DOCTEST_MESSAGE(fmt::format("jumps of the difference: at most {:.4f} at borders, {:.4f} elsewhere, mean {:.4f}",
                              at_borders, jumps.max().item<double>(), jumps.mean().item<double>()));
  DOCTEST_CHECK(at_borders <= jumps.max().item<double>());
  DOCTEST_CHECK(at_borders <= 2 * jumps.mean().item<double>());

  // A picture of one tile is decoded whole.
  const auto small = latents.narrow(2, 0, 32).narrow(3, 0, 32);
  DOCTEST_CHECK(at::equal(decoder->decode_in_tiles(small, world.call.call()).value(), decoder->decode(small)));
  // Between tiles it can be cancelled.
  int asked = 0;
  const fixtures::TestCall cancelled([&] { return ++asked > 3; });
  DOCTEST_CHECK(decoder->decode_in_tiles(latents, cancelled.call()).error().status == gf::Status::cancelled);
}
