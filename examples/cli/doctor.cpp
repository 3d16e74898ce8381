// gameforge doctor: what generation needs, what of it was found, what is missing and how to get it.
#include "commands.hpp"
#include "host.hpp"

#include <cstdio>
#include <memory>

namespace command {

void add_doctor(CLI::App& app, Chosen& chosen) {
  auto* doctor =
      app.add_subcommand("doctor", "Examines what generation needs: what is there, what is missing, how to get it");
  auto choice = std::make_shared<EngineChoice>();
  doctor->add_flag("--json", chosen.json, "One JSON object on one line");
  choice->add_to(*doctor, false);
  doctor->footer(
      "Ends with 0 when nothing is missing, else with 3.\n"
      "\n"
      "Examples:\n"
      "  gameforge doctor\n"
      "  gameforge doctor --json | jq .problems");
  on_chosen(*doctor, chosen, [&chosen, choice] {
    const EngineSetup setup(*choice);
    auto report =
        json_of([&](char* buffer, std::uint64_t* size) { return gf_doctor_json(&setup.options(), buffer, size); });
    const auto problems = report.value("problems", Json::array());
    if (chosen.json) {
      print_json(report);
    } else {
      report.erase("problems");
      std::printf("%s", readable(report, 0).c_str());
      if (problems.empty()) {
        std::printf("no problem was found\n");
      } else {
        std::printf("problems:\n%s", readable(problems, 2).c_str());
      }
    }
    if (!problems.empty()) chosen.exit_code = group_of(GF_ERR_BACKEND_MISSING);
  });
}

}  // namespace command
