// gameforge version: the library and each part that it was linked with.
#include "commands.hpp"
#include "host.hpp"

#include <cstdio>
#include <memory>

namespace command {

void add_version(CLI::App& app, Chosen& chosen) {
  auto* version = app.add_subcommand("version", "Tells the version of the library and of what it is made of");
  version->add_flag("--json", chosen.json, "One JSON object on one line");
  version->footer(
      "Examples:\n"
      "  gameforge version\n"
      "  gameforge version --json | jq -r .version");
  on_chosen(*version, chosen, [&chosen] {
    const auto parts = json_of(gf_version_json);
    if (chosen.json) return print_json(parts);
    std::printf("GameForge %s\n%s", gf_version_text(), readable(parts, 2).c_str());
  });
}

}  // namespace command
