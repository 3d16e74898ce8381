#include "pipeline/model_folder.hpp"

#include "../support/model_files.hpp"
#include "base/json.hpp"
#include "pipeline/request.hpp"

#include <doctest/doctest.h>

#include <filesystem>
#include <string>
#include <vector>

#include <sys/resource.h>

using gf::Json;
using gf::Status;
using gf::pipeline::ModelFolders;
using gf::pipeline::ModelName;
using gf::pipeline::Request;
using gf::pipeline::with_defaults;
using gf::test::TemporaryFolder;
using gf::test::write_file;
using gf::test::write_model;
namespace fs = std::filesystem;

namespace {

/// A folder of models with one that is sound.
struct World {
  TemporaryFolder folder;
  ModelFolders folders{{folder.path()}, false};

  World() { write_model(folder / "tiles"); }
  auto inspect(const std::string& name = "tiles") {
    const auto found = folders.resolve(name);
    REQUIRE(found.has_value());
    return folders.inspect(found.value());
  }
  gf::Error refusal(const std::string& file, const std::string& text) {
    write_file(folder / ("tiles/" + file), text);
    const auto description = inspect();
    REQUIRE(description.has_error());
    CHECK_MESSAGE(description.error().message.find("tiles/" + file + ": ") != std::string::npos,
                  description.error().message);
    return description.error();
  }
};

}  // namespace

TEST_CASE("golden: the model that ships, as its own files have it") {
  const fs::path shipped = GAMEFORGE_SHIPPED_MODEL;
  const ModelFolders folders({shipped.parent_path()}, false);
  const auto name = folders.resolve("gameforge-tiles");
  REQUIRE(name.has_value());
  CHECK(name.value().path == shipped.string());
  const auto model = folders.inspect(name.value());
  REQUIRE(model.has_value());
  const auto& is = *model.value();
  CHECK(is.name == "gameforge-tiles");
  CHECK(is.family == "sdxl");
  CHECK(is.prediction == "epsilon");
  CHECK(is.licence == "CC0-1.0");
  CHECK(is.vae_factor == 2);
  CHECK(is.size_multiple_px == 2);
  CHECK(is.latent_channels == 4);
  CHECK(is.default_width_px == 32);
  CHECK(is.default_steps == 20);
  CHECK(is.default_cfg_scale == 4.0);
  CHECK(is.default_sampler == "euler");
  REQUIRE(is.background.has_value());
  CHECK(is.background->red == 44);
  CHECK(is.background->tolerance == 24);
  CHECK(is.parts.size() == 7);
  CHECK(is.warnings.empty());
  gf::JsonText written;
  written.begin_object();
  gf::pipeline::write_json(written, is);
  const auto json = Json::parse(written.end_object().str());
  CHECK(json.at("background").at("rgb") == Json({44, 48, 60}));
  const auto& parts = json.at("parts");
  for (const auto& part : parts) {
    if (part.at("name") != "unet") continue;
    CHECK(part.at("class") == "UNet2DConditionModel");
    CHECK(part.at("files").at(1).at("name") == "diffusion_pytorch_model.safetensors");
    CHECK(part.at("files").at(1).at("bytes") == fs::file_size(shipped / "unet/diffusion_pytorch_model.safetensors"));
  }
  CHECK(json.at("file_bytes") > 1'000'000);
  const auto listed = folders.list();
  REQUIRE(listed.size() >= 1);
  CHECK(listed[0].name == "gameforge-tiles");
}

TEST_CASE("without a gameforge.json the defaults are those of the family") {
  World world;
  const auto model = world.inspect().value();
  CHECK(model->name == "tiles");
  CHECK(model->default_width_px == 32);  // sample_size 16 times the VAE's 2.
  CHECK(model->default_steps == 20);
  CHECK(model->default_cfg_scale == 7);
  CHECK(model->default_sampler == "euler");
  CHECK_FALSE(model->background.has_value());
}

TEST_CASE("a reference is a name in the folders, the first folder first, and leads nowhere else") {
  World world;
  TemporaryFolder second;
  write_model(second / "tiles");
  write_model(second / "other");
  const ModelFolders both({world.folder.path(), second.path()}, false);
  CHECK(both.resolve("tiles").value().path == fs::canonical(world.folder / "tiles"));
  CHECK(both.resolve("other").value().path == fs::canonical(second / "other"));
  const auto missing = both.resolve("nobody").error();
  CHECK(missing.status == Status::not_found);
  CHECK(missing.message.find(second.path()) != std::string::npos);
  for (const std::string bad : {"../tiles", "..", ".", "a/b", ""}) {
    CHECK(both.resolve(bad).error().status == Status::invalid_argument);
  }
  CHECK(both.resolve(second / "other").error().status == Status::unauthorised);
  const ModelFolders open({world.folder.path()}, true);
  CHECK(open.resolve(second / "other").value().name == "other");
  CHECK(open.resolve(second / "nothing").error().status == Status::not_found);
  write_file(second / "file", "no folder");
  CHECK(open.resolve(second / "file").error().status == Status::not_found);
  const auto names = both.list();
  REQUIRE(names.size() == 2);  // The second "tiles" is hidden by the first.
  CHECK(names[0].path == fs::canonical(world.folder / "tiles"));
  CHECK(names[1].name == "other");
}

TEST_CASE("golden: malformed configs of the SDXL set give typed errors that name file and fault") {
  struct Row {
    std::string file;
    std::string replaces;
    std::string part;  // Of the message; empty: this reader takes it, and the backend judges the rest.
    Status status = Status::corrupt_file;
  };
  const std::vector<Row> rows = {
      {"model_index_missing_component.json", "model_index.json", "text_encoder, text_encoder_2, tokenizer"},
      {"model_index_path_escape.json", "model_index.json", "../../../etc"},
      {"model_index_unknown_pipeline.json", "model_index.json", "SomeOtherPipeline", Status::unsupported_format},
      {"unet_array.json", "unet/config.json", "not a JSON object"},
      {"unet_block_channels_4000_long.json", "unet/config.json", "block_out_channels"},
      {"unet_deep.json", "unet/config.json", "nested deeper"},
      {"unet_empty_file.json", "unet/config.json", "parse error"},
      {"unet_empty_object.json", "unet/config.json", "it lacks block_out_channels"},
      {"unet_invalid_utf8.json", "unet/config.json", "UTF-8"},
      {"unet_negative_channels.json", "unet/config.json", "block_out_channels holds -"},
      {"unet_not_json.json", "unet/config.json", "parse error"},
      {"unet_number_too_big.json", "unet/config.json", "number overflow"},
      {"unet_truncated.json", "unet/config.json", "parse error"},
      {"unet_zero_channels.json", "unet/config.json", "block_out_channels holds 0"},
      {"unet_huge_channels.json", "unet/config.json", "block_out_channels holds"},
      {"unet_channels_int32_overflow.json", "unet/config.json", "block_out_channels holds"},
      {"unet_with_bom.json", "unet/config.json", ""},
  };
  const fs::path malformed = fs::path(GAMEFORGE_GOLDEN_DIR) / "malformed/configs_sdxl";
  for (const auto& row : rows) {
    CAPTURE(row.file);
    World world;
    REQUIRE(world.inspect().has_value());  // The control.
    const auto target = fs::path(world.folder / "tiles") / row.replaces;
    fs::copy_file(malformed / row.file, target, fs::copy_options::overwrite_existing);
    const auto model = world.inspect();
    if (row.part.empty()) {
      CHECK(model.has_value());
      continue;
    }
    REQUIRE(model.has_error());
    CHECK(model.error().status == row.status);
    CHECK(model.error().message.find(fs::canonical(target).string()) != std::string::npos);
    CHECK_MESSAGE(model.error().message.find(row.part) != std::string::npos, model.error().message);
  }
}

TEST_CASE("a part's name cannot lead out of the model") {
  for (const std::string name : {"..", ".", "a/b", "/etc", "a\\\\b", ""}) {
    CAPTURE(name);
    World world;
    const auto error = world.refusal("model_index.json",
                                     R"({"_class_name": "StableDiffusionXLPipeline", ")" + name + R"(": ["a", "b"]})");
    CHECK(error.status == Status::corrupt_file);
    CHECK(error.message.find("no name of a folder inside the model") != std::string::npos);
  }
}

TEST_CASE("a missing file is told by its path") {
  for (const std::string file :
       {"model_index.json", "vae/config.json", "unet/config.json", "scheduler/scheduler_config.json"}) {
    World world;
    fs::remove(world.folder / ("tiles/" + file));
    const auto model = world.inspect();
    REQUIRE(model.has_error());
    CHECK(model.error().status == Status::not_found);
    CHECK(model.error().message.find(file) != std::string::npos);
  }
}

TEST_CASE("bad values of a gameforge.json are errors that name it, unknown keys warnings") {
  const auto refused = [](const std::string& text, const std::string& part) {
    World world;
    const auto error = world.refusal("gameforge.json", text);
    CHECK(error.status == Status::corrupt_file);
    CHECK_MESSAGE(error.message.find(part) != std::string::npos, error.message);
  };
  refused("[]", "not a JSON object");
  refused(R"({"defaults": 5})", "defaults is not");
  refused(R"({"defaults": {"width": 31}})", "width is 31; the model needs a multiple of 2");
  refused(R"({"defaults": {"width": -8}})", "width is -8");
  refused(R"({"defaults": {"height": 9000}})", "height is");
  refused(R"({"defaults": {"steps": 0}})", "steps is");
  refused(R"({"defaults": {"steps": 20.5}})", "steps is");
  refused(R"({"defaults": {"cfg_scale": "7"}})", "cfg_scale is");
  refused(R"({"defaults": {"cfg_scale": 1000}})", "cfg_scale is");
  refused(R"({"defaults": {"sampler": "warp"}})", "sampler \"warp\" is unknown");
  refused(R"({"defaults": {"sampler": 3}})", "sampler is 3; it must be text");
  refused(R"({"defaults": {"schedule": "warp"}})", "schedule \"warp\" is unknown");
  refused(R"({"background": {"rgb": [1, 2]}})", "background.rgb");
  refused(R"({"background": {"rgb": [1, 2, 256]}})", "background.rgb");
  refused(R"({"background": {"rgb": [1, 2, 3], "tolerance": 256}})", "tolerance is");
  refused(R"({"name": 5})", "name is");
  World world;
  write_file(world.folder / "tiles/gameforge.json",
             R"({"defaults": {"step": 5, "schedule": "automatic"}, "later": 1})");
  const auto model = world.inspect().value();
  REQUIRE(model->warnings.size() == 1);
  CHECK(model->warnings[0].find("\"step\"") != std::string::npos);
}

TEST_CASE("a scheduler that is not built is replaced, with a warning that names it") {
  World world;
  write_file(world.folder / "tiles/scheduler/scheduler_config.json", R"({"_class_name": "EDMEulerScheduler"})");
  const auto model = world.inspect().value();
  CHECK(model->default_sampler == "euler");
  REQUIRE(model->warnings.size() == 1);
  CHECK(model->warnings[0].find("EDMEulerScheduler") != std::string::npos);
  write_file(world.folder / "tiles/scheduler/scheduler_config.json",
             R"({"_class_name": "EulerAncestralDiscreteScheduler", "prediction_type": "v_prediction"})");
  CHECK(world.inspect().value()->default_sampler == "euler_a");
  CHECK(world.inspect().value()->prediction == "v_prediction");
}

TEST_CASE("what was read is kept until a file changes, appears or goes, and errors are not kept") {
  World world;
  const auto first = world.inspect().value();
  CHECK(world.inspect().value() == first);
  write_file(world.folder / "tiles/gameforge.json", R"({"defaults": {"steps": 9}})");
  const auto second = world.inspect().value();
  CHECK(second->default_steps == 9);
  CHECK(world.inspect().value() == second);
  fs::remove(world.folder / "tiles/gameforge.json");
  CHECK(world.inspect().value()->default_steps == 20);
  write_file(world.folder / "tiles/gameforge.json", "{");
  CHECK(world.inspect().has_error());
  write_file(world.folder / "tiles/gameforge.json", "{}");
  CHECK(world.inspect().has_value());
}

TEST_CASE("what a request leaves out is the model's; sizes and latents are judged against it") {
  World world;
  write_file(world.folder / "tiles/gameforge.json",
             R"({"defaults": {"width": 64, "steps": 9, "cfg_scale": 2, "schedule": "karras", "negative_prompt": "dull",
                 "guidance_rescale": 0.5}})");
  const auto model = world.inspect().value();
  Request request;
  request.image_count = 2;
  auto filled = with_defaults(request, *model).value();
  CHECK(filled.width_px == 64);
  CHECK(filled.height_px == 32);
  CHECK(filled.steps == 9);
  CHECK(filled.cfg_scale == 2);
  CHECK(filled.guidance_rescale == 0.5);
  CHECK(filled.sampler == "euler");
  CHECK(filled.schedule == "karras");
  CHECK(filled.negative_prompt == "dull");
  request.negative_prompt = "";  // Asked for: not the same as leaving it out.
  CHECK(with_defaults(request, *model).value().negative_prompt == "");
  request.height_px = 33;
  CHECK(with_defaults(request, *model).error().message == "height_px is 33; \"tiles\" needs a multiple of 2");
  request.height_px = 32;
  request.initial_latents.resize(2 * 4 * 32 * 16);
  CHECK(with_defaults(request, *model).has_value());
  request.initial_latents.push_back(0);
  const auto refused = with_defaults(request, *model).error();
  CHECK(refused.status == Status::invalid_argument);
  CHECK(refused.message.find("2 x 4 x 16 x 32 = 4096") != std::string::npos);
}

TEST_CASE("golden: the sampler that a model's scheduler_config.json stands for") {
  struct Row {
    const char* config;
    const char* sampler;
  };
  for (const auto& row :
       {Row{R"({"_class_name": "DDIMScheduler"})", "ddim"},
        Row{R"({"_class_name": "PNDMScheduler", "skip_prk_steps": true})", "plms"},
        Row{R"({"_class_name": "PNDMScheduler"})", "pndm"},
        Row{R"({"_class_name": "DPMSolverMultistepScheduler"})", "dpmpp_2m"},
        Row{R"({"_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "sde-dpmsolver++"})", "dpmpp_2m_sde"},
        Row{R"({"_class_name": "DPMSolverMultistepScheduler", "solver_order": 3})", "dpmpp_3m"},
        Row{R"({"_class_name": "DPMSolverSinglestepScheduler"})", "dpmpp_2s"},
        Row{R"({"_class_name": "UniPCMultistepScheduler"})", "unipc"},
        Row{R"({"_class_name": "LCMScheduler"})", "lcm"}}) {
    CAPTURE(row.config);
    World world;
    write_file(world.folder / "tiles/scheduler/scheduler_config.json", row.config);
    const auto model = world.inspect();
    REQUIRE(model.has_value());
    CHECK(model.value()->default_sampler == row.sampler);
    CHECK(model.value()->warnings.empty());
  }
}
