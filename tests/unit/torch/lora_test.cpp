#include "torch/lora.hpp"
#include "fixtures.hpp"
#include "torch/run.hpp"

#include "base/safetensors.hpp"

#include <c10/core/InferenceMode.h>
#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace gf::torch;
using fixtures::TestCall;

const std::string tiles = MODELS_DIR "/gameforge-tiles";

struct Loaded : fixtures::Loaded {
  Loaded() : fixtures::Loaded(tiles) {}

  LoraUse use(const std::string& path, double scale) const {
    auto file = LoraFile::open(host, path, call.call());
    DOCTEST_REQUIRE(file.has_value());
    return {std::move(file).value(), scale};
  }
  LoraUse shipped(const std::string& name, double scale) const {
    return use(tiles + "/loras/" + name + ".safetensors", scale);
  }

  std::unique_ptr<Model> with(std::vector<LoraUse> uses) const {
    std::vector<std::string> warnings;
    auto made = model->with_loras(std::move(uses), true, call.call(), warnings);
    DOCTEST_REQUIRE(made.has_value());
    DOCTEST_CHECK(warnings.empty());
    return std::move(made).value();
  }

  at::Tensor picture(const Model& with) const {
    Prompts prompts;
    prompts.prompt = "a red potion";
    const auto conditioning = with.encode(prompts, call.call()).value();
    RunOptions options;
    options.width = options.height = 32;
    options.steps = 4;
    options.cfg_scale = 4;
    options.scheduler = with.scheduler();
    options.sizes = {32, 32, 0, 0, 32, 32};
    auto run = Run::start(with, conditioning, options, call.call()).value();
    while (run->done() < run->steps()) DOCTEST_REQUIRE(run->step(call.call()).has_value());
    return run->decode(call.call()).value();
  }
};

const Loaded& loaded() {
  static const Loaded once;
  return once;
}

/// A file of one module with these halves, of values that are not all the same.
void write_lora(const std::string& path, const std::string& up, std::vector<std::int64_t> up_shape,
                const std::string& down, std::vector<std::int64_t> down_shape) {
  const auto values = [](const std::vector<std::int64_t>& shape) {
    std::int64_t count = 1;
    for (const auto side : shape) count *= side;
    std::vector<float> out;
    for (std::int64_t i = 0; i < count; ++i) out.push_back(0.01F * static_cast<float>(i % 7));
    return out;
  };
  const auto first = values(up_shape);
  const auto second = values(down_shape);
  const std::vector<gf::NamedFloats> tensors = {{up, std::move(up_shape), first},
                                                {down, std::move(down_shape), second}};
  DOCTEST_REQUIRE(gf::write_safetensors(path, tensors).has_value());
}

}  // namespace

DOCTEST_TEST_CASE("a LoRA changes the picture, and the model without it gives the same bits as before") {
  const c10::InferenceMode inference;
  const auto& model = loaded();
  const auto before = model.picture(*model.model);
  {
    const auto frost = model.with({model.shipped("frost", 1)});
    DOCTEST_CHECK_FALSE(at::equal(model.picture(*frost), before));
    DOCTEST_CHECK(at::equal(model.picture(*model.model), before));  // While the other is there.
    const auto ember = model.with({model.shipped("ember", 1)});
    DOCTEST_CHECK_FALSE(at::equal(model.picture(*ember), model.picture(*frost)));
  }
  DOCTEST_CHECK(at::equal(model.picture(*model.model), before));
  DOCTEST_CHECK(at::equal(model.picture(*model.with({model.shipped("frost", 0)})), before));
}

DOCTEST_TEST_CASE("the order of several files does not change a bit, and PEFT's form gives what kohya's gives") {
  const c10::InferenceMode inference;
  const auto& model = loaded();
  const auto one = model.with({model.shipped("frost", 0.7), model.shipped("ember", 0.4)});
  const auto other = model.with({model.shipped("ember", 0.4), model.shipped("frost", 0.7)});
  DOCTEST_CHECK(at::equal(model.picture(*one), model.picture(*other)));
  const auto kohya = model.picture(*model.with({model.shipped("ember", 1)}));
  const auto peft = model.picture(*model.with({model.shipped("ember-peft", 1)}));
  DOCTEST_CHECK((kohya - peft).abs().max().item<double>() < 1e-3);
}

DOCTEST_TEST_CASE("weights that are held twice are charged, and given back") {
  const c10::InferenceMode inference;
  const auto& model = loaded();
  const auto held = model.files.held_bytes();
  {
    const auto frost = model.with({model.shipped("frost", 1)});
    DOCTEST_CHECK(model.files.held_bytes() == held + frost->weight_bytes());
    DOCTEST_CHECK(frost->weight_bytes() > 1'000'000);
  }
  DOCTEST_CHECK(model.files.held_bytes() == held);
}

DOCTEST_TEST_CASE("the charge is for whole layers: queries, keys and values are one of them") {
  const c10::InferenceMode inference;
  const auto& model = loaded();
  fixtures::TemporaryFolder folder;
  const auto path = folder / "queries.safetensors";
  const auto width = model.model->unet_config().levels.back().channels;
  const std::string module = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q";
  write_lora(path, module + ".lora_up.weight", {width, 2}, module + ".lora_down.weight", {2, width});
  const auto with = model.with({model.use(path, 1)});
  // The form that it is packed in may round its sides up.
  const auto plain = static_cast<std::uint64_t>(3 * width * width) * sizeof(float);
  DOCTEST_CHECK(with->weight_bytes() >= plain);
  DOCTEST_CHECK(with->weight_bytes() < plain * 11 / 10);
}

DOCTEST_TEST_CASE("keys that fit nothing are an error that changes nothing, or a warning; other damage is named") {
  const c10::InferenceMode inference;
  const auto& model = loaded();
  fixtures::TemporaryFolder folder;
  const auto path = folder / "some.safetensors";
  std::vector<std::string> warnings;
  const auto refusal = [&](bool strict = true) {
    const auto made = model.model->with_loras({model.use(path, 1)}, strict, model.call.call(), warnings);
    DOCTEST_REQUIRE(made.has_error());
    DOCTEST_CHECK(made.error().message.find("some.safetensors") != std::string::npos);
    return made.error();
  };
  write_lora(path, "lora_unet_nowhere.lora_up.weight", {4, 2}, "lora_unet_nowhere.lora_down.weight", {2, 4});
  DOCTEST_CHECK(refusal().status == gf::Status::not_found);
  DOCTEST_CHECK(refusal(false).status == gf::Status::not_found);  // Nothing fits at all.

  write_lora(path, "lora_unet_conv_in.lora_up.weight", {48, 2, 1, 1}, "lora_unet_elsewhere.lora_down.weight", {2, 4});
  DOCTEST_CHECK(refusal().message.find("elsewhere") != std::string::npos);
  DOCTEST_CHECK(refusal(false).message.find("down half is missing") != std::string::npos);

  write_lora(path, "lora_unet_conv_in.lora_up.weight", {48, 2, 1, 1}, "lora_unet_conv_in.lora_down.weight",
             {3, 4, 3, 3});
  DOCTEST_CHECK(refusal().status == gf::Status::corrupt_file);
  write_lora(path, "lora_unet_conv_in.lora_up.weight", {47, 2, 1, 1}, "lora_unet_conv_in.lora_down.weight",
             {2, 4, 3, 3});
  DOCTEST_CHECK(refusal().status == gf::Status::invalid_argument);
  write_lora(path, "lora_unet_conv_in.lora_up.weight", {48, 2, 1, 1}, "unet.conv_in.lora_B.weight", {48, 2, 1, 1});
  DOCTEST_CHECK(refusal().message.find("twice") != std::string::npos);
  write_lora(path, "lora_unet_conv_in.dora_scale", {48, 2}, "lora_unet_conv_in.lora_down.weight", {2, 4, 3, 3});
  DOCTEST_CHECK(refusal().status == gf::Status::unsupported_format);

  write_lora(path, "lora_unet_conv_in.lora_up.weight", {48, 2, 1, 1}, "lora_unet_conv_in.lora_down.weight",
             {2, 4, 3, 3});
  DOCTEST_CHECK(model.model->with_loras({model.use(path, 1)}, true, model.call.call(), warnings).has_value());
}

DOCTEST_TEST_CASE("a cancelled call leaves nothing behind") {
  const c10::InferenceMode inference;
  const auto& model = loaded();
  const auto held = model.files.held_bytes();
  int asked = 0;
  const TestCall call([&] { return ++asked > 20; });
  std::vector<std::string> warnings;
  const auto made = model.model->with_loras({model.shipped("frost", 1)}, true, call.call(), warnings);
  DOCTEST_REQUIRE(made.has_error());
  DOCTEST_CHECK(made.error().status == gf::Status::cancelled);
  DOCTEST_CHECK(model.files.held_bytes() == held);
}
