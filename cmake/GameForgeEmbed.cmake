# Writes a folder's .sql files as C++. Run by gameforge_embed_migrations with NAME, FOLDER and OUT.
file(GLOB files ${FOLDER}/*.sql)
list(SORT files)
set(arrays "")
set(entries "")
set(index 0)
foreach(path IN LISTS files)
  get_filename_component(file_name ${path} NAME)
  # As bytes: a string literal has a largest length, and would need escapes.
  file(READ ${path} hex HEX)
  string(REGEX REPLACE "(..)" "'\\\\x\\1'," bytes "${hex}")
  string(APPEND arrays "constexpr char file_${index}[] = {${bytes}'\\0'};\n")
  string(APPEND entries
    "    gf::migrate::EmbeddedFile{\"${file_name}\", std::string_view(file_${index}, sizeof file_${index} - 1)},\n")
  math(EXPR index "${index} + 1")
endforeach()
set(header "// Written by gameforge_embed_migrations.
#pragma once

#include \"migrate/source.hpp\"

#include <span>

std::span<const gf::migrate::EmbeddedFile> ${NAME}();
")
set(source "// Written by gameforge_embed_migrations.
#include \"${NAME}.hpp\"

#include <array>

namespace {
${arrays}
constexpr std::array<gf::migrate::EmbeddedFile, ${index}> files = {
${entries}};
}  // namespace

std::span<const gf::migrate::EmbeddedFile> ${NAME}() { return files; }
")
file(WRITE ${OUT}/${NAME}.hpp "${header}")
file(WRITE ${OUT}/${NAME}.cpp "${source}")
