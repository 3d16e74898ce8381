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
#include <string>
#include <vector>

namespace {

std::map<std::string, std::string>& folders() {  // By the case's name.
  static std::map<std::string, std::string> all;
  return all;
}

std::vector<std::string>& skipped() {
  static std::vector<std::string> all;
  return all;
}

golden::Outcome run(const golden::Case& golden) {
  static const std::map<std::string, golden::Outcome (*)(const golden::Case&)> runners = {
      {"tokenizer", golden::run_component},       {"rng_torch_cpu", golden::run_component},
      {"image_bytes", golden::run_component},     {"text_encoder", golden::run_component},
      {"unet_forward", golden::run_component},    {"vae", golden::run_component},
      {"scheduler", golden::run_component},       {"pipeline", golden::run_pipeline},
      {"malformed", golden::run_malformed},       {"malformed_component", golden::run_malformed},
      {"malformed_config", golden::run_malformed}};
  const auto runner = runners.find(golden.kind());
  if (runner == runners.end()) return golden::Outcome::skip("kind " + golden.kind() + " is not built yet");
  return runner->second(golden);
}

/// The body of every case: doctest tells which one runs.
void run_current_case() {
  const std::string name = doctest::getContextOptions()->currentTest->m_name;
  const c10::InferenceMode inference;
  const golden::Case golden(folders().at(name));
  const auto outcome = run(golden);
  if (outcome.skipped) {
    skipped().push_back(fmt::format("{}: {}", name, *outcome.skipped));
    return;
  }
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
  DOCTEST_CHECK(!(outcome.deviations.empty() && golden.kind().find("malformed") == std::string::npos));
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
  for (const auto& path : found) {
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
  fmt::print("skipped {} of {} cases:\n", skipped().size(), found.size());
  for (const auto& line_text : skipped()) fmt::print("  {}\n", line_text);
  return result;
}
