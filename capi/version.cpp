// The library's version at the ABI, and those of the parts that it was built with.
#include "base/json.hpp"

#include "buffers.hpp"
#include "firewall.hpp"
#include "version.hpp"

#include <fmt/format.h>
#include <png.h>
#include <toml++/toml.h>
#include <zlib.h>
#include <boost/version.hpp>

#include <string>

// The build passes the project's version; the header repeats it for hosts.
static_assert(GF_VERSION_MAJOR == GAMEFORGE_VERSION_MAJOR && GF_VERSION_MINOR == GAMEFORGE_VERSION_MINOR &&
              GF_VERSION_PATCH == GAMEFORGE_VERSION_PATCH);
static_assert(GF_VERSION_MINOR < 100 && GF_VERSION_PATCH < 100);

namespace gf::capi {
namespace {

std::string compiler() {
#if defined(__clang__)
  return fmt::format("clang {}.{}.{}", __clang_major__, __clang_minor__, __clang_patchlevel__);
#elif defined(__GNUC__)
  return fmt::format("gcc {}.{}.{}", __GNUC__, __GNUC_MINOR__, __GNUC_PATCHLEVEL__);
#else
  return "unknown";
#endif
}

std::string png_version() {
  // What runs, which may be newer than what was compiled against.
  const auto number = png_access_version_number();
  return fmt::format("{}.{}.{}", number / 10000, number / 100 % 100, number % 100);
}

}  // namespace

Json version_json() {
  Json parts;
  parts["fmt"] = fmt::format("{}.{}.{}", FMT_VERSION / 10000, FMT_VERSION / 100 % 100, FMT_VERSION % 100);
  parts["boost"] = fmt::format("{}.{}.{}", BOOST_VERSION / 100000, BOOST_VERSION / 100 % 1000, BOOST_VERSION % 100);
  parts["nlohmann_json"] =
      fmt::format("{}.{}.{}", NLOHMANN_JSON_VERSION_MAJOR, NLOHMANN_JSON_VERSION_MINOR, NLOHMANN_JSON_VERSION_PATCH);
  parts["tomlplusplus"] = fmt::format("{}.{}.{}", TOML_LIB_MAJOR, TOML_LIB_MINOR, TOML_LIB_PATCH);
  parts["libpng"] = png_version();
  parts["zlib"] = zlibVersion();
  return Json{{"name", "gameforge"},    {"version", gf_version_text()},          {"number", gf_version()},
              {"compiler", compiler()}, {"sanitizer", GAMEFORGE_SANITIZER_TEXT}, {"parts", std::move(parts)}};
}

}  // namespace gf::capi

extern "C" {

uint32_t gf_version(void) { return 10000 * GF_VERSION_MAJOR + 100 * GF_VERSION_MINOR + GF_VERSION_PATCH; }

const char* gf_version_text(void) { return GAMEFORGE_VERSION_TEXT; }

gf_status gf_version_json(char* buffer, uint64_t* size) {
  return gf::capi::firewall([&]() -> gf::Result<void> {
    GF_TRYV(gf::capi::check_size(size));
    return gf::capi::give_text(gf::to_text(gf::capi::version_json()), buffer, size);
  });
}

}  // extern "C"
