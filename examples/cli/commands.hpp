// The commands, one file each: every function adds a subcommand with its options, its help and what it does.
#pragma once

#include <CLI/CLI.hpp>

#include <cstdint>
#include <functional>

namespace command {

/// What was chosen: main parses first and runs after, so that a failure of the work is no failure of the parser.
struct Chosen {
  std::function<void()> run;
  bool json = false;  ///< Failures too are told in one JSON line on standard output.
  int exit_code = 0;  ///< Of a command that has done its work and found something wrong.
};

/// A status's group, which is the exit code of what ended with it.
constexpr int group_of(std::uint32_t status) { return static_cast<int>(status / 100); }

/// What a subcommand does, once main runs what was chosen.
template <class Work>
void on_chosen(CLI::App& app, Chosen& chosen, Work work) {
  app.callback([&chosen, work] { chosen.run = work; });
}

void add_generate(CLI::App& app, Chosen& chosen);
void add_sheet(CLI::App& app, Chosen& chosen);
void add_asset(CLI::App& app, Chosen& chosen);
void add_migrate(CLI::App& app, Chosen& chosen);
void add_queue(CLI::App& app, Chosen& chosen);
void add_errors(CLI::App& app, Chosen& chosen);
void add_model(CLI::App& app, Chosen& chosen);
void add_bench(CLI::App& app, Chosen& chosen);
void add_doctor(CLI::App& app, Chosen& chosen);
void add_version(CLI::App& app, Chosen& chosen);

}  // namespace command
