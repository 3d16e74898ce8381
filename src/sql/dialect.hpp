// The two databases that GameForge speaks to.
#pragma once

#include <cstdint>
#include <string_view>

namespace gf::sql {

enum class Dialect : std::uint8_t { sqlite, postgresql };

constexpr std::string_view name_of(Dialect dialect) { return dialect == Dialect::sqlite ? "sqlite" : "postgresql"; }

}  // namespace gf::sql
