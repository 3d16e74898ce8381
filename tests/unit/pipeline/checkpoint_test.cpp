// Single-file checkpoints. The names of full-size models and the bytes of small ones are in the golden case
// real_model_keys; here is what they are made of, and what is refused.
#include "pipeline/checkpoint.hpp"

#include "../support/model_files.hpp"
#include "base/json.hpp"
#include "base/safetensors.hpp"
#include "pipeline/checkpoint_names.hpp"
#include "pipeline/clip_tokenizer.hpp"
#include "pipeline/model_folder.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

using gf::FileStamp;
using gf::Status;
using gf::test::TemporaryFolder;
using gf::test::write_file;
using namespace gf::pipeline;
namespace fs = std::filesystem;

namespace {

using Shapes = std::map<std::string, std::vector<std::int64_t>>;

/// Writes tensors of single precision whose values count on from 0 through the whole file.
void write_tensors(const std::string& path, const Shapes& tensors) {
  std::vector<std::vector<float>> values;
  std::vector<gf::NamedFloats> named;
  float next = 0;
  for (const auto& [name, shape] : tensors) {
    std::int64_t count = 1;
    for (const auto side : shape) count *= side;
    auto& filled = values.emplace_back(static_cast<std::size_t>(count));
    for (auto& value : filled) value = next++;
  }
  std::size_t at = 0;
  for (const auto& [name, shape] : tensors) named.push_back({name, shape, values[at++]});
  REQUIRE(gf::write_safetensors(path, named).has_value());
}

void add(Shapes& into, const std::string& prefix,
         std::initializer_list<std::pair<const char*, std::vector<std::int64_t>>> tensors) {
  for (const auto& [name, shape] : tensors) into[prefix + name] = shape;
}

/// A model of Stable Diffusion 2's shape, as small as one can be: two levels, of which the first attends.
Shapes smallest() {
  Shapes out;
  const std::string unet = "model.diffusion_model.";
  add(out, unet,
      {{"input_blocks.0.0.weight", {64, 4, 3, 3}},
       {"out.2.weight", {4, 64, 3, 3}},
       {"input_blocks.1.0.in_layers.2.weight", {64, 64, 3, 3}},
       {"input_blocks.1.1.proj_in.weight", {64, 64}},
       {"input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight", {64, 64}},
       {"input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight", {64, 128}},
       {"input_blocks.3.0.op.weight", {64, 64, 3, 3}},
       {"input_blocks.4.0.in_layers.2.weight", {128, 64, 3, 3}},
       {"middle_block.1.proj_in.weight", {128, 128}},
       {"middle_block.1.transformer_blocks.0.attn1.to_q.weight", {128, 128}},
       {"middle_block.1.transformer_blocks.0.attn2.to_k.weight", {128, 128}},
       {"output_blocks.2.1.conv.weight", {128, 128, 3, 3}},
       {"output_blocks.3.1.proj_in.weight", {64, 64}}});
  add(out, "first_stage_model.",
      {{"decoder.up.0.block.0.conv1.weight", {32, 32, 3, 3}},
       {"decoder.up.0.block.1.conv1.weight", {32, 32, 3, 3}},
       {"decoder.up.1.block.0.conv1.weight", {64, 64, 3, 3}},
       {"decoder.conv_in.weight", {64, 4, 3, 3}},
       {"decoder.conv_out.weight", {3, 32, 3, 3}},
       {"decoder.mid.attn_1.q.weight", {64, 64, 1, 1}},
       {"quant_conv.weight", {8, 8, 1, 1}}});
  const std::string text = "cond_stage_model.model.";
  add(out, text,
      {{"token_embedding.weight", {40, 128}},
       {"positional_embedding", {77, 128}},
       {"text_projection", {128, 128}},
       {"ln_final.weight", {128}}});
  for (int layer = 0; layer < 3; ++layer) {
    add(out, text + "transformer.resblocks." + std::to_string(layer) + ".",
        {{"mlp.c_fc.weight", {512, 128}}, {"attn.in_proj_weight", {384, 128}}, {"attn.in_proj_bias", {384}}});
  }
  return out;
}

struct World {
  TemporaryFolder folder;
  std::string path = folder / "small.safetensors";
  Shapes tensors = smallest();

  World() { write_tensors(path, tensors); }
  gf::Error refusal() {
    write_tensors(path, tensors);
    const auto opened = Checkpoint::open(path);
    REQUIRE(opened.has_error());
    CHECK_MESSAGE(opened.error().message.find("small.") != std::string::npos, opened.error().message);
    return opened.error();
  }
  gf::Json config(const std::string& inner) {
    const auto opened = Checkpoint::open(path);
    REQUIRE(opened.has_value());
    const auto text = gf::read_text(*opened.value()->open_file(inner).value(), 1 << 20).value();
    return gf::Json::parse(text);
  }
};

}  // namespace

TEST_CASE("the smallest checkpoint is recognised by names and shapes, and every file of its folder can be opened") {
  World world;
  const auto opened = Checkpoint::open(world.path);
  REQUIRE(opened.has_value());
  CHECK(opened.value()->files() ==
        std::vector<std::string>{"model_index.json", "scheduler/scheduler_config.json", "text_encoder/config.json",
                                 "text_encoder/model.safetensors", "tokenizer/merges.txt",
                                 "tokenizer/tokenizer_config.json", "tokenizer/vocab.json", "unet/config.json",
                                 "unet/diffusion_pytorch_model.safetensors", "vae/config.json",
                                 "vae/diffusion_pytorch_model.safetensors"});
  const auto unet = world.config("unet/config.json");
  CHECK(unet["block_out_channels"] == gf::Json::parse("[64, 128]"));
  CHECK(unet["down_block_types"] == gf::Json::parse(R"(["CrossAttnDownBlock2D", "DownBlock2D"])"));
  CHECK(unet["up_block_types"] == gf::Json::parse(R"(["UpBlock2D", "CrossAttnUpBlock2D"])"));
  CHECK(unet["attention_head_dim"] == gf::Json::parse("[1, 2]"));
  CHECK(unet["cross_attention_dim"] == 128);
  CHECK(unet["use_linear_projection"] == true);
  CHECK(unet["norm_num_groups"] == 32);
  const auto vae = world.config("vae/config.json");
  CHECK(vae["block_out_channels"] == gf::Json::parse("[32, 64]"));
  CHECK(vae["layers_per_block"] == 1);
  CHECK(vae["use_quant_conv"] == true);
  CHECK(vae["use_post_quant_conv"] == false);
  // The last of three layers is left out.
  CHECK(world.config("text_encoder/config.json")["num_hidden_layers"] == 2);
  CHECK(world.config("scheduler/scheduler_config.json")["prediction_type"] == "epsilon");
  CHECK(opened.value()->open_file("unet/nothing").error().status == Status::not_found);
}

TEST_CASE("tensors are the file's bytes under other names; queries, keys and values a third each") {
  World world;
  const auto file = gf::Safetensors::open(world.path).value();
  const auto opened = Checkpoint::open(world.path).value();
  const auto text = gf::Safetensors::open(opened->open_file("text_encoder/model.safetensors").value()).value();
  const auto stacked = file.read_floats("cond_stage_model.model.transformer.resblocks.1.attn.in_proj_weight").value();
  const std::size_t third = stacked.size() / 3;
  std::size_t at = 0;
  for (const auto* part : {"q", "k", "v"}) {
    const auto name = std::string("text_model.encoder.layers.1.self_attn.") + part + "_proj.weight";
    REQUIRE(text.find(name) != nullptr);
    CHECK(text.find(name)->shape == std::vector<std::int64_t>{128, 128});
    CHECK(text.read_floats(name).value() ==
          std::vector<float>(stacked.begin() + static_cast<std::ptrdiff_t>(at * third),
                             stacked.begin() + static_cast<std::ptrdiff_t>((at + 1) * third)));
    ++at;
  }
  CHECK(text.find("text_model.encoder.layers.2.mlp.fc1.weight") == nullptr);
  CHECK(text.find("text_projection.weight") == nullptr);
  // Read in every way that a range can lie across header, pieces and their ends.
  const auto source = opened->open_file("vae/diffusion_pytorch_model.safetensors").value();
  std::vector<std::byte> whole(source->size());
  REQUIRE(source->read_at(0, whole).has_value());
  for (const std::uint64_t step : {1ULL, 7ULL, 4096ULL, 100'000ULL}) {
    for (std::uint64_t from = 0; from < whole.size(); from += whole.size() / 23) {
      std::vector<std::byte> part(std::min<std::uint64_t>(step, whole.size() - from));
      REQUIRE(source->read_at(from, part).has_value());
      CHECK(std::equal(part.begin(), part.end(), whole.begin() + static_cast<std::ptrdiff_t>(from)));
    }
  }
  std::vector<std::byte> beyond(2);
  CHECK(source->read_at(whole.size() - 1, beyond).error().status == Status::corrupt_file);
  CHECK(source->read_at(~std::uint64_t{0}, beyond).error().status == Status::corrupt_file);
}

TEST_CASE("OpenCLIP's projection is turned over") {
  World world;
  // SDXL's second encoder, beside the first.
  Shapes tensors;
  for (const auto& [name, shape] : world.tensors) {
    const std::string from = "cond_stage_model.model.";
    tensors[name.starts_with(from) ? "conditioner.embedders.1.model." + name.substr(from.size()) : name] = shape;
  }
  tensors["conditioner.embedders.1.model.text_projection"] = {128, 96};
  add(tensors, "conditioner.embedders.0.transformer.text_model.",
      {{"embeddings.token_embedding.weight", {40, 64}},
       {"embeddings.position_embedding.weight", {77, 64}},
       {"embeddings.position_ids", {1, 77}},
       {"encoder.layers.0.mlp.fc1.weight", {256, 64}}});
  world.tensors = tensors;
  write_tensors(world.path, tensors);
  const auto matrix =
      gf::Safetensors::open(world.path).value().read_floats("conditioner.embedders.1.model.text_projection").value();
  const auto opened = Checkpoint::open(world.path).value();
  const auto text = gf::Safetensors::open(opened->open_file("text_encoder_2/model.safetensors").value()).value();
  CHECK(text.find("text_projection.weight")->shape == std::vector<std::int64_t>{96, 128});
  const auto turned = text.read_floats("text_projection.weight").value();
  for (std::size_t row = 0; row < 128; ++row) {
    for (std::size_t column = 0; column < 96; ++column) CHECK(turned[column * 128 + row] == matrix[row * 96 + column]);
  }
  CHECK(world.config("text_encoder_2/config.json")["num_hidden_layers"] == 3);
  CHECK(world.config("text_encoder_2/config.json")["projection_dim"] == 96);
  CHECK(world.config("model_index.json")["_class_name"] == "StableDiffusionXLPipeline");
  const auto first = gf::Safetensors::open(opened->open_file("text_encoder/model.safetensors").value()).value();
  CHECK(first.find("text_model.embeddings.position_ids") == nullptr);
  CHECK(first.find("text_model.embeddings.token_embedding.weight") != nullptr);
  // Without values there is nothing to turn, however long the other side says that it is.
  tensors["conditioner.embedders.1.model.text_projection"] = {std::int64_t{1} << 62, 0};
  write_tensors(world.path, tensors);
  const auto empty = Checkpoint::open(world.path);
  REQUIRE(empty.has_value());
  const auto none = gf::Safetensors::open(empty.value()->open_file("text_encoder_2/model.safetensors").value()).value();
  CHECK(none.find("text_projection.weight")->shape == std::vector<std::int64_t>{0, std::int64_t{1} << 62});
}

TEST_CASE("what predicts the velocity is told by the file's metadata, a mark, or the spread of a bias") {
  World world;
  CHECK(world.config("unet/config.json")["sample_size"] == 64);
  world.tensors["v_pred"] = {1};
  write_tensors(world.path, world.tensors);
  CHECK(world.config("scheduler/scheduler_config.json")["prediction_type"] == "v_prediction");
  CHECK(world.config("unet/config.json")["sample_size"] == 96);
  world.tensors["ztsnr"] = {1};
  write_tensors(world.path, world.tensors);
  CHECK(world.config("scheduler/scheduler_config.json")["rescale_betas_zero_snr"] == true);
  world.tensors = smallest();
  // Values that count on are spread widely.
  world.tensors["model.diffusion_model.output_blocks.11.1.transformer_blocks.0.norm1.bias"] = {64};
  write_tensors(world.path, world.tensors);
  CHECK(world.config("scheduler/scheduler_config.json")["prediction_type"] == "v_prediction");
}

TEST_CASE("a file beside it corrects what neither names nor shapes tell, and is the folder's gameforge.json") {
  World world;
  const auto beside = world.folder / "small.gameforge.json";
  write_file(beside, R"({"name": "Small", "configs": {"unet": {"attention_head_dim": 4, "norm_eps": 1e-6},
    "scheduler": {"prediction_type": "v_prediction"}}, "defaults": {"steps": 7}})");
  CHECK(world.config("unet/config.json")["attention_head_dim"] == 4);
  CHECK(world.config("unet/config.json")["norm_eps"] == 1e-6);
  const ModelFolders folders({world.folder.path()}, false);
  const auto name = folders.resolve("small").value();
  CHECK(name.path == world.path);
  CHECK(folders.resolve("small.safetensors").value().path == world.path);
  CHECK(folders.list().size() == 1);
  CHECK(folders.list()[0].name == "small");
  auto model = folders.inspect(name).value();
  CHECK(model->name == "Small");
  CHECK(model->family == "sd");
  CHECK(model->prediction == "v_prediction");
  CHECK(model->default_steps == 7);
  // Seen when it changes.
  write_file(beside, R"({"name": "Renamed"})");
  model = folders.inspect(name).value();
  CHECK(model->name == "Renamed");
  CHECK(model->prediction == "epsilon");
  fs::remove(beside);
  CHECK(folders.inspect(name).value()->name == "small");
  // Damaged, it is an error, and named.
  write_file(beside, R"({"configs": [1]})");
  CHECK(Checkpoint::open(world.path).error().message.find("configs is not a JSON object") != std::string::npos);
  write_file(beside, R"({"configs": )");
  CHECK(Checkpoint::open(world.path).error().message.find("small.gameforge.json") != std::string::npos);
  fs::remove(beside);
  fs::create_directory(beside);
  CHECK(Checkpoint::open(world.path).error().status == Status::unsupported_format);
}

TEST_CASE("a folder goes before a file of the same name, and a file that changes is read anew") {
  World world;
  fs::create_directory(world.folder / "small");
  write_file(world.folder / "small/model_index.json", "{}");
  const ModelFolders folders({world.folder.path()}, false);
  CHECK(folders.resolve("small").value().path == (world.folder / "small"));
  CHECK(folders.list().size() == 1);
  fs::remove_all(world.folder / "small");
  const auto name = folders.resolve("small").value();
  CHECK(folders.inspect(name).value()->latent_channels == 4);
  world.tensors["first_stage_model.decoder.conv_in.weight"] = {64, 16, 3, 3};
  write_tensors(world.path, world.tensors);
  CHECK(folders.inspect(name).value()->latent_channels == 16);
}

TEST_CASE("files of other kinds are refused with what they are") {
  struct Row {
    const char* tensor;
    const char* words;
  };
  for (const auto& row :
       {Row{"lora_unet_down_blocks_0.lora_up.weight", "it is a LoRA"},
        Row{"unet.down_blocks.0.attn1.to_q.lora_A.weight", "it is a LoRA"},
        Row{"double_blocks.0.img_attn.qkv.weight", "Flux"},
        Row{"model.diffusion_model.joint_blocks.0.x.weight", "no text encoder that is known"},
        Row{"down_blocks.0.resnets.0.conv1.weight", "one part of a diffusers folder"},
        Row{"decoder.up.0.block.0.conv1.weight", "a VAE by itself"},
        Row{"control_model.input_blocks.0.0.weight", "ControlNet"}, Row{"something", "no model that is known"}}) {
    CAPTURE(row.tensor);
    World world;
    world.tensors = {{row.tensor, {2, 2}}};
    const auto error = world.refusal();
    CHECK(error.status == Status::unsupported_format);
    CHECK_MESSAGE(error.message.find(row.words) != std::string::npos, error.message);
  }
  World world;
  world.tensors["model.diffusion_model.input_blocks.0.0.weight"] = {64, 9, 3, 3};
  CHECK(world.refusal().message.find("inpainting") != std::string::npos);
  World refiner;
  refiner.tensors["conditioner.embedders.0.model.ln_final.weight"] = {8};
  CHECK(refiner.refusal().message.find("refiner") != std::string::npos);
  CHECK(Checkpoint::open(world.folder / "none.safetensors").error().status == Status::not_found);
  CHECK(Checkpoint::open(world.folder / "none.ckpt").error().status == Status::unsupported_format);
}

TEST_CASE(
    "each tensor that the architecture is read from, when it is missing or of another shape, is an error that names "
    "it") {
  const std::vector<std::string> needed = {
      "model.diffusion_model.input_blocks.0.0.weight",
      "model.diffusion_model.out.2.weight",
      "model.diffusion_model.input_blocks.1.0.in_layers.2.weight",
      "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight",
      "first_stage_model.decoder.up.1.block.0.conv1.weight",
      "first_stage_model.decoder.conv_in.weight",
      "first_stage_model.decoder.conv_out.weight",
      "cond_stage_model.model.token_embedding.weight",
      "cond_stage_model.model.positional_embedding",
      "cond_stage_model.model.transformer.resblocks.0.mlp.c_fc.weight"};
  for (const auto& name : needed) {
    CAPTURE(name);
    World world;
    world.tensors[name] = {2, 2, 2};
    auto error = world.refusal();
    CHECK(error.status == Status::corrupt_file);
    CHECK_MESSAGE(error.message.find(name) != std::string::npos, error.message);
    // Without one level there is a smaller VAE, as good as any.
    if (name.find("up.1.block") != std::string::npos) continue;
    world.tensors.erase(name);
    error = world.refusal();
    CHECK(error.status == Status::corrupt_file);
  }
  World world;
  world.tensors["cond_stage_model.model.transformer.resblocks.0.attn.in_proj_bias"] = {383};
  CHECK(world.refusal().message.find("three equal parts") != std::string::npos);
  World blocks;
  blocks.tensors.erase("model.diffusion_model.middle_block.1.transformer_blocks.0.attn1.to_q.weight");
  CHECK(blocks.refusal().message.find("0 transformer blocks") != std::string::npos);
  World vae;
  vae.tensors.erase("first_stage_model.decoder.up.0.block.0.conv1.weight");
  CHECK(vae.refusal().message.find("no VAE") != std::string::npos);
}

TEST_CASE("paths into a checkpoint are opened through it, all others as they are") {
  World world;
  FileStamp stamp;
  const auto inner = open_model_file(world.path + "/unet/config.json", stamp);
  REQUIRE(inner.has_value());
  CHECK(inner.value()->path() == world.path + "/unet/config.json");
  const FileStamp own = gf::ReadFile::open(world.path).value().stamp();
  CHECK(stamp == own);
  CHECK(open_model_file(world.path, stamp).value()->size() == own.bytes);
  CHECK(open_model_file(world.path + "/no/such", stamp).error().status == Status::not_found);
  CHECK(open_model_file(world.path + "/", stamp).has_error());
  CHECK(open_model_file(world.folder / "none.safetensors/unet/config.json", stamp).has_error());
  // A folder may be called so.
  fs::create_directory(world.folder / "folder.safetensors");
  write_file(world.folder / "folder.safetensors/model_index.json", "{}");
  CHECK(open_model_file(world.folder / "folder.safetensors/model_index.json", stamp).value()->size() == 2);
  CHECK(files_in_model(world.path + "/unet").size() == 2);
  CHECK(files_in_model(world.path + "/scheduler").size() == 1);
  CHECK(files_in_model(world.folder / "nothing").empty());
}

TEST_CASE("the vocabulary that checkpoints do without is the one that ships") {
  const fs::path shipped = GAMEFORGE_SHIPPED_MODEL;
  CHECK(clip_merges() == gf::read_text(shipped / "tokenizer/merges.txt", 4 << 20).value());
  CHECK(gf::Json::parse(clip_vocabulary_json()) ==
        gf::Json::parse(gf::read_text(shipped / "tokenizer/vocab.json", 4 << 20).value()));
}

TEST_CASE("names that no such network has are none") {
  for (const auto* name :
       {"input_blocks.0.1.weight", "input_blocks.x.0.in_layers.0.weight", "input_blocks.1.0.other.weight",
        "input_blocks.99999.0.in_layers.0.weight", "input_blocks.3.1.op.weight", "middle_block.3.norm.weight",
        "output_blocks.0.1.other.weight", "output_blocks.", "", "label_emb.1.0.weight"}) {
    CAPTURE(name);
    CHECK_FALSE(unet_name(name, 2));
  }
  for (const auto* name : {"encoder.down.4.block.0.conv1.weight", "decoder.up.0.attn.0.q.weight",
                           "encoder.mid.block_3.conv1.weight", "decoder.down.0.block.0.conv1.weight", "loss.weight"}) {
    CAPTURE(name);
    CHECK_FALSE(vae_name(name, 4));
  }
  for (const auto* name :
       {"logit_scale", "transformer.resblocks.0.attn.in_proj_other", "transformer.resblocks.x.ln_1.weight"}) {
    CAPTURE(name);
    CHECK_FALSE(open_clip_name(name, 0));
  }
  CHECK_FALSE(open_clip_name("transformer.resblocks.0.attn.in_proj_bias", 3));
  CHECK_FALSE(open_clip_name("ln_final.weight", 1));
}
