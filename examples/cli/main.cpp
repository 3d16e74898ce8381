// gameforge: generates game assets from the command line. A host of the C ABI like any other: what it can, they can.
#include "commands.hpp"
#include "host.hpp"

#include <fmt/format.h>

#include <cstdio>
#include <exception>
#include <new>
#include <sstream>
#include <string>
#include <utility>

namespace {

int report(command::Failure failure, bool json) {
  failure.message = command::without_passwords(std::move(failure.message));  // It may repeat an argument.
  gf_status_description row = GF_STATUS_DESCRIPTION_INIT;
  const bool known = gf_status_describe(failure.status, &row) == GF_OK;
  const std::string hint = known ? row.hint : "";
  if (json) {
    command::Json line = failure.details;
    line["error"] = {{"status", failure.status},
                     {"name", gf_status_name(failure.status)},
                     {"message", failure.message},
                     {"retryable", known && row.retryable != 0},
                     {"hint", hint}};
    command::print_json(line);
  }
  (void)std::fprintf(stderr, "gameforge: %s\n",
                     failure.message.empty() ? gf_status_name(failure.status) : failure.message.c_str());
  if (!hint.empty() && failure.status != GF_ERR_CANCELLED) (void)std::fprintf(stderr, "  %s\n", hint.c_str());
  return command::group_of(failure.status);
}

int run(command::Chosen& chosen) {
  try {
    chosen.run();
  } catch (const command::Failure& failure) {
    return report(failure, chosen.json);
  } catch (const std::bad_alloc&) {
    return report({GF_ERR_OUT_OF_HOST_MEMORY, "out of memory"}, chosen.json);
  } catch (const std::exception& error) {
    return report({GF_ERR_INTERNAL, error.what()}, chosen.json);
  }
  // A full disk behind a redirection shows only here.
  if (std::fflush(stdout) != 0) return report({GF_ERR_IO, "standard output could not be written"}, false);
  return chosen.exit_code;
}

int parse_and_run(int argc, char** argv) {
  CLI::App app(
      "gameforge generates game assets: 2D sprites and tiles from a prompt, with a diffusion model that runs on this "
      "machine. And it keeps the schema of a game's own database, and a queue of jobs that many machines share.",
      "gameforge");
  app.set_version_flag("--version", std::string("GameForge ") + gf_version_text());
  app.require_subcommand(1);
  app.get_formatter()->column_width(34);
  app.footer(
      "Examples:\n"
      "  gameforge generate \"a red potion\" --out potion.png\n"
      "  gameforge generate \"a golden shield\" --seed 7 --transparent --upscale 8 --out shield.png\n"
      "  gameforge asset pixelate shield.png --out shield16.png --cell 2 --colours 16\n"
      "  gameforge migrate run --db sqlite:game.db\n"
      "  gameforge queue stats --redis redis://localhost\n"
      "  gameforge errors top --redis redis://localhost\n"
      "  gameforge doctor\n"
      "\n"
      "`gameforge COMMAND --help` tells of each command. It ends with 0, or with what kind of thing went wrong: 1 the\n"
      "command line or what it names, 2 cancelled or refused for now, 3 memory or the backend, 4 a file or a schema\n"
      "that is not what it should be, 5 disk, network or database, 9 a bug of GameForge's.");

  command::Chosen chosen;
  command::add_generate(app, chosen);
  command::add_sheet(app, chosen);
  command::add_asset(app, chosen);
  command::add_model(app, chosen);
  command::add_migrate(app, chosen);
  command::add_queue(app, chosen);
  command::add_errors(app, chosen);
  command::add_bench(app, chosen);
  command::add_doctor(app, chosen);
  command::add_version(app, chosen);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // Help and version come this way too, with 0; CLI11's own numbers are all of group 1. It repeats what it did not
    // understand, which may be a URL in the wrong place.
    std::ostringstream out;
    std::ostringstream problem;
    const bool good = app.exit(error, out, problem) == 0;
    (void)std::fputs(out.str().c_str(), stdout);
    (void)std::fputs(command::without_passwords(problem.str()).c_str(), stderr);
    return good ? 0 : command::group_of(GF_ERR_INVALID_ARGUMENT);
  }
  command::install_interrupt();
  return run(chosen);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return parse_and_run(argc, argv);
  } catch (const std::exception& error) {
    (void)std::fprintf(stderr, "gameforge: %s\n", error.what());
    return command::group_of(GF_ERR_INTERNAL);
  }
}
