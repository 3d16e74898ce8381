// gameforge model: which models there are, and what one is.
#include "commands.hpp"
#include "host.hpp"

#include <cstdio>
#include <memory>

namespace command {

void add_model(CLI::App& app, Chosen& chosen) {
  auto* model = app.add_subcommand("model", "Lists models, and tells what one is");
  model->require_subcommand(1);
  model->footer(
      "Examples:\n"
      "  gameforge model list\n"
      "  gameforge model info gameforge-tiles");

  auto* list = model->add_subcommand("list", "Lists the models in the model folders");
  auto list_choice = std::make_shared<EngineChoice>();
  list->add_flag("--json", chosen.json, "One JSON object on one line");
  list->add_option("--config", list_choice->config, "A TOML file with the engine's options, model_folders among them")
      ->type_name("FILE");
  list->footer(
      "Models are looked for in the folders that the configuration names (model_folders; or GAMEFORGE_MODEL_FOLDERS),\n"
      "then in those that came with the command.\n"
      "\n"
      "Examples:\n"
      "  gameforge model list\n"
      "  gameforge model list --json | jq -r '.models[].name'");
  on_chosen(*list, chosen, [&chosen, list_choice] {
    const Engine engine(*list_choice);
    const auto models =
        json_of([&](char* buffer, std::uint64_t* size) { return gf_model_list_json(engine.get(), buffer, size); });
    if (chosen.json) return print_json({{"models", models}});
    for (const auto& row : models) {
      std::printf("%-24s %s\n", row.value("name", "").c_str(), row.value("path", "").c_str());
    }
    if (models.empty()) std::printf("no model was found; `gameforge doctor` tells where they are looked for\n");
  });

  auto* info = model->add_subcommand("info", "Tells what a model is, from its small files: no weights are loaded");
  auto choice = std::make_shared<EngineChoice>();
  info->add_option("model", choice->model, "Its name in the model folders, or the path of a diffusers folder")
      ->required()
      ->type_name("REF");
  info->add_flag("--json", chosen.json, "One JSON object on one line");
  info->add_option("--config", choice->config, "A TOML file with the engine's options, model_folders among them")
      ->type_name("FILE");
  info->footer(
      "Examples:\n"
      "  gameforge model info gameforge-tiles\n"
      "  gameforge model info ./my-model --json | jq .defaults");
  on_chosen(*info, chosen, [&chosen, choice] {
    const Engine engine(*choice);
    const auto described = engine.model_info();
    if (chosen.json) return print_json(described);
    std::printf("%s", readable(described, 0).c_str());
  });
}

}  // namespace command
