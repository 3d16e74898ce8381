// What the tests of the library share: models to load, the header as text, texts out as strings.
#pragma once

#include "../support/files.hpp"
#include "gameforge/gameforge.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <set>
#include <string>
#include <utility>

namespace gf::test {

/// Makes a model in `folder`/`name` that the fake backend loads: the small files of the shipped model, and what the
/// backend shall do as `settings` in fake.json.
void make_fake_model(const std::string& folder, const std::string& name, const std::string& settings);

/// A folder of fake models, by name and settings.
class FakeModels {
 public:
  FakeModels(std::initializer_list<std::pair<const char*, const char*>> models) {
    for (const auto& [name, settings] : models) make_fake_model(folder_.path(), name, settings);
  }
  const std::string& folder() const { return folder_.path(); }

 private:
  TemporaryFolder folder_;
};

/// One function of gameforge.h: its name and the text between its parentheses.
struct Declared {
  std::string name;
  std::string parameters;
  bool operator<(const Declared& other) const { return name < other.name; }
};
/// Every GF_API function of the header.
std::set<Declared> declared_functions();
/// The names of those whose parameters contain `part`.
std::set<std::string> functions_with(const std::string& part);

using TextCall = std::function<gf_status(char* buffer, std::uint64_t* size)>;
/// The text that a call gives, or "status NNN: message" when it fails.
std::string text_of(const TextCall& call);

}  // namespace gf::test
