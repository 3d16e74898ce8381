// The library's version at the ABI, and those of the parts that it was built with.
#include "version.hpp"
#include "base/json_text.hpp"
#include "buffers.hpp"
#include "firewall.hpp"

#include <fmt/format.h>
#include <pg_query.h>
#include <png.h>
#include <sqlite3.h>
#include <toml++/toml.h>
#include <zlib.h>
#include <boost/version.hpp>
#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>
#include <utility>

// The build passes the project's version; the header repeats it for hosts.
// NOLINTNEXTLINE(misc-redundant-expression)
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

std::string version_json() {
  const auto version = [](unsigned major, unsigned minor, unsigned patch) {
    return fmt::format("{}.{}.{}", major, minor, patch);
  };
  JsonText out;
  out.begin_object().key("name").text("gameforge").key("version").text(gf_version_text());
  out.key("number").number(std::uint64_t{gf_version()}).key("compiler").text(compiler());
  out.key("sanitizer").text(GAMEFORGE_SANITIZER_TEXT).key("parts").begin_object();
  out.key("boost").text(version(BOOST_VERSION / 100000, BOOST_VERSION / 100 % 1000, BOOST_VERSION % 100));
  out.key("fmt").text(version(FMT_VERSION / 10000, FMT_VERSION / 100 % 100, FMT_VERSION % 100));
  out.key("libpg_query").text("PostgreSQL " PG_VERSION);
  out.key("libpng").text(png_version());
  out.key("nlohmann_json")
      .text(version(NLOHMANN_JSON_VERSION_MAJOR, NLOHMANN_JSON_VERSION_MINOR, NLOHMANN_JSON_VERSION_PATCH));
  out.key("sqlite").text(sqlite3_libversion());
  out.key("tomlplusplus").text(version(TOML_LIB_MAJOR, TOML_LIB_MINOR, TOML_LIB_PATCH));
  out.key("zlib").text(zlibVersion());
  out.end_object().end_object();
  return std::move(out).str();
}

}  // namespace gf::capi

extern "C" {

uint32_t gf_version(void) { return 10000 * GF_VERSION_MAJOR + 100 * GF_VERSION_MINOR + GF_VERSION_PATCH; }

const char* gf_version_text(void) { return GAMEFORGE_VERSION_TEXT; }

gf_status gf_version_json(char* buffer, uint64_t* size) {
  return gf::capi::firewall([&]() -> gf::Result<void> {
    GF_TRYV(gf::capi::check_size(size));
    return gf::capi::give_text(gf::capi::version_json(), buffer, size);
  });
}

}  // extern "C"
