#include "support.hpp"

#include <cctype>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>

namespace gf::test {

void make_fake_model(const std::string& folder, const std::string& name, const std::string& settings) {
  namespace fs = std::filesystem;
  const fs::path from = GAMEFORGE_SHIPPED_MODEL;
  const fs::path to = fs::path(folder) / name;
  for (const auto& entry : fs::recursive_directory_iterator(from)) {
    // Its gameforge.json would give the model another name and defaults; vocabularies and weights are not read.
    if (entry.path().extension() != ".json" || entry.path().filename() == "gameforge.json") continue;
    if (entry.file_size() > 16384) continue;
    const auto target = to / fs::relative(entry.path(), from);
    fs::create_directories(target.parent_path());
    fs::copy_file(entry.path(), target);
  }
  write_file((to / "fake.json").string(), settings);
}

std::set<Declared> declared_functions() {
  // Without std::regex: GCC 12 warns of its insides under AddressSanitizer (GCC bug 105562).
  const auto header = file_text(GAMEFORGE_HEADER);
  const std::string mark = "\nGF_API ";
  std::set<Declared> found;
  for (auto at = header.find(mark); at != std::string::npos; at = header.find(mark, at + 1)) {
    const auto open = header.find('(', at);
    const auto close = header.find(')', open);
    if (close == std::string::npos) throw std::runtime_error("a declaration without parentheses");
    auto name = open;
    while (std::isalnum(static_cast<unsigned char>(header[name - 1])) != 0 || header[name - 1] == '_') --name;
    // One line, so that a parameter that was wrapped is found all the same.
    std::string parameters;
    for (const char letter : header.substr(open + 1, close - open - 1)) {
      const bool space = letter == ' ' || letter == '\n';
      if (!space) {
        parameters += letter;
      } else if (!parameters.empty() && parameters.back() != ' ') {
        parameters += ' ';
      }
    }
    found.insert({header.substr(name, open - name), parameters});
  }
  return found;
}

std::set<std::string> functions_with(const std::string& part) {
  std::set<std::string> names;
  for (const auto& function : declared_functions()) {
    if (function.parameters.find(part) != std::string::npos) names.insert(function.name);
  }
  return names;
}

std::string text_of(const TextCall& call) {
  std::uint64_t size = 0;
  auto status = call(nullptr, &size);
  std::string text;
  while (status == GF_OK) {
    text.resize(size);
    status = call(text.data(), &size);
    if (status == GF_OK) {
      text.resize(size - 1);
      return text;
    }
    if (status == GF_ERR_BUFFER_TOO_SMALL) status = GF_OK;  // It grew in between.
  }
  return "status " + std::to_string(static_cast<int>(status)) + ": " + gf_last_error_message();
}

}  // namespace gf::test
