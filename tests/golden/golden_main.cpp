// Runs every golden case of a folder as a doctest case of its name, and prints a line for each.
#define DOCTEST_CONFIG_IMPLEMENT
#include "case.hpp"

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace {

std::map<std::string, std::string>& folders() {  // By the case's name.
  static std::map<std::string, std::string> all;
  return all;
}

struct Runner {
  golden::Outcome (*run)(const golden::Case&);
  std::optional<std::string> (*skip_reason)(const golden::Case&);
};

std::optional<std::string> never(const golden::Case&) { return std::nullopt; }

const Runner* runner_of(const golden::Case& golden) {
  using namespace golden;
  static const std::map<std::string, Runner> runners = {{"tokenizer", {run_component, never}},
                                                        {"rng_torch_cpu", {run_component, never}},
                                                        {"rng_philox", {run_component, never}},
                                                        {"image_bytes", {run_component, never}},
                                                        {"text_encoder", {run_component, never}},
                                                        {"unet_forward", {run_component, never}},
                                                        {"vae", {run_component, never}},
                                                        {"scheduler", {run_component, component_skip_reason}},
                                                        {"pipeline", {run_pipeline, pipeline_skip_reason}},
                                                        {"lora", {run_lora, never}},
                                                        {"lora_error", {run_lora_error, never}},
                                                        {"key_inventory", {run_key_inventory, never}},
                                                        {"malformed", {run_malformed, never}},
                                                        {"malformed_component", {run_malformed, never}},
                                                        {"malformed_config", {run_malformed, never}}};
  const auto found = runners.find(golden.kind());
  return found == runners.end() ? nullptr : &found->second;
}

/// Why a case cannot be run; nullopt when it can.
std::optional<std::string> skip_reason(const golden::Case& golden) {
  const auto* runner = runner_of(golden);
  return runner == nullptr ? "kind " + golden.kind() + " is not built yet" : runner->skip_reason(golden);
}

/// Kinds whose expected outcome is an error, or names and bytes.
bool compares_no_tensors(const std::string& kind) {
  return kind.find("malformed") != std::string::npos || kind == "lora_error" || kind == "key_inventory";
}

/// The body of every case: doctest tells which one runs.
void run_current_case() {
  const std::string name = doctest::getContextOptions()->currentTest->m_name;
  const c10::InferenceMode inference;
  const golden::Case golden(folders().at(name));
  const auto outcome = runner_of(golden)->run(golden);
  const auto* worst = outcome.worst();
  const auto figures = worst == nullptr
                           ? std::string("no tensors")
                           : fmt::format("largest {:.3g} of {:.3g} ({})", worst->largest, worst->bound, worst->tensor);
  fmt::print("{} {:<44} {}\n", outcome.passed() ? "pass" : "FAIL", name, figures);
  for (const auto& problem : outcome.problems) fmt::print("       {}\n", problem);
  for (const auto& deviation : outcome.deviations) {
    if (!deviation.passed())
      fmt::print("       {}: {:.6g} is over {:.6g}\n", deviation.tensor, deviation.largest, deviation.bound);
  }
  std::fflush(stdout);
  DOCTEST_CHECK(!(outcome.deviations.empty() && !compares_no_tensors(golden.kind())));
  DOCTEST_CHECK(outcome.passed());
}

}  // namespace

int main(int argc, char** argv) {
  namespace fs = std::filesystem;
  const auto cases = fs::path(golden::root()) / "cases";
  std::error_code error;
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(cases, error)) {
    if (fs::exists(entry.path() / "manifest.json")) found.push_back(entry.path());
  }
  if (found.empty()) {
    fmt::print(stderr, "{}: no golden cases are there\n", cases.string());
    return 1;
  }
  std::sort(found.begin(), found.end());
  static std::vector<std::string> names;  // doctest keeps pointers to them.
  names.reserve(found.size());
  unsigned line = 0;
  std::vector<std::string> skipped;
  for (const auto& path : found) {
    if (const auto why = skip_reason(golden::Case(path.string()))) {
      skipped.push_back(fmt::format("{}: {}", path.filename().string(), *why));
      continue;
    }
    names.push_back(path.filename().string());
    folders()[names.back()] = path.string();
    // doctest tells cases apart by file and line.
    doctest::detail::regTest(doctest::detail::TestCase(run_current_case, "golden", ++line,
                                                       doctest_detail_test_suite_ns::getCurrentTestSuite()) *
                             names.back().c_str());
  }
  at::set_num_threads(2);
  doctest::Context context(argc, argv);
  const auto result = context.run();
  if (context.shouldExit()) return result;
  fmt::print("{} of {} cases were skipped\n", skipped.size(), found.size());
  for (const auto& line_text : skipped) fmt::print("  {}\n", line_text);
  return result;
}
