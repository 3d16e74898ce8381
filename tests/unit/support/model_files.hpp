// The small files of a model: what tests of pipeline and engine share.
#pragma once

#include "../../support/files.hpp"

#include <string>

namespace gf::test {

inline const char* const model_index = R"({
  "_class_name": "StableDiffusionXLPipeline",
  "_diffusers_version": "0.42.1",
  "feature_extractor": [null, null],
  "force_zeros_for_empty_prompt": false,
  "scheduler": ["diffusers", "EulerDiscreteScheduler"],
  "text_encoder": ["transformers", "CLIPTextModel"],
  "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
  "tokenizer": ["transformers", "CLIPTokenizer"],
  "tokenizer_2": ["transformers", "CLIPTokenizer"],
  "unet": ["diffusers", "UNet2DConditionModel"],
  "vae": ["diffusers", "AutoencoderKL"]
})";

/// A model folder whose every file is small: `settings` for the fake backend, `own` for gameforge.json if it is not
/// empty.
inline void write_model(const std::string& folder, const std::string& settings = "{}", const std::string& own = "") {
  write_file(folder + "/model_index.json", model_index);
  write_file(folder + "/vae/config.json",
             R"({"_class_name": "AutoencoderKL", "block_out_channels": [32, 64], "latent_channels": 4})");
  write_file(folder + "/unet/config.json",
             R"({"_class_name": "UNet2DConditionModel", "block_out_channels": [48, 96, 160], "sample_size": 16})");
  write_file(folder + "/scheduler/scheduler_config.json",
             R"({"_class_name": "EulerDiscreteScheduler", "prediction_type": "epsilon"})");
  write_file(folder + "/fake.json", settings);
  if (!own.empty()) write_file(folder + "/gameforge.json", own);
}

}  // namespace gf::test
