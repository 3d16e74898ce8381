#include "cache/shared_object.hpp"

#include <fmt/format.h>

#include <utility>

#include <dlfcn.h>

namespace gf::cache {

Result<SharedObject> SharedObject::open(const std::vector<std::string>& names) {
  std::string said;
  for (const auto& name : names) {
    if (void* handle = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL); handle != nullptr) {
      return SharedObject(name, handle);
    }
    const char* words = dlerror();
    if (said.empty() && words != nullptr) said = words;
  }
  return Error{Status::not_found, said.empty() ? "no library was named" : std::move(said), {}};
}

Result<void> SharedObject::Lookup::complete() const {
  if (missing_ == nullptr) return success();
  return Error{Status::unsupported, fmt::format("{} has no {}", from_.name(), missing_), {}};
}

void* SharedObject::symbol(const char* name) const noexcept { return dlsym(handle_, name); }

}  // namespace gf::cache
