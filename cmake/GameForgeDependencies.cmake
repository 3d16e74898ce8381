# Every outside library, found once, as an imported target. Debian's package of each stands beside it.

find_package(Threads REQUIRED)

# libfmt-dev. Header-only, so that no host can meet a second libfmt through us.
find_package(fmt REQUIRED)

# libboost-dev: Outcome, headers alone.
find_package(Boost REQUIRED)
if(NOT TARGET Boost::headers)
  add_library(Boost::headers INTERFACE IMPORTED)
  target_include_directories(Boost::headers SYSTEM INTERFACE ${Boost_INCLUDE_DIRS})
endif()

# nlohmann-json3-dev
find_package(nlohmann_json REQUIRED)

# libpng-dev, zlib1g-dev
find_package(PNG REQUIRED)

# libutf8proc-dev: Unicode normalisation and categories for the tokenizer. The static archive of Debian is position-independent.
find_path(UTF8PROC_INCLUDE_DIR utf8proc.h REQUIRED)
find_library(UTF8PROC_ARCHIVE libutf8proc.a REQUIRED)
add_library(gf::utf8proc STATIC IMPORTED)
set_target_properties(gf::utf8proc PROPERTIES
  IMPORTED_LOCATION ${UTF8PROC_ARCHIVE}
  INTERFACE_COMPILE_DEFINITIONS UTF8PROC_STATIC
  INTERFACE_INCLUDE_DIRECTORIES ${UTF8PROC_INCLUDE_DIR})

# libsqlite3-dev. Shared: Debian's archive of it is not position-independent.
find_package(SQLite3 REQUIRED)

# gf_add_guarded_archive(<name> ARCHIVE <file> INCLUDE <folder> CALLS <list> GUARD <target>): gf::<name>, a copy of a static
# archive in which the calls of the list lead to functions of the guard: in a host's process no library may end it or
# write to its streams, as these do where they give up.
function(gf_add_guarded_archive name)
  cmake_parse_arguments(PARSE_ARGV 1 guarded "" "ARCHIVE;INCLUDE;CALLS;GUARD" "")
  set(calls ${PROJECT_SOURCE_DIR}/cmake/${guarded_CALLS})
  set(copy ${PROJECT_BINARY_DIR}/guarded/lib${name}.a)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${calls} ${guarded_ARCHIVE})
  file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/guarded)
  execute_process(COMMAND ${CMAKE_OBJCOPY} --redefine-syms=${calls} ${guarded_ARCHIVE} ${copy} COMMAND_ERROR_IS_FATAL ANY)
  add_library(gf::${name} STATIC IMPORTED GLOBAL)
  set_target_properties(gf::${name} PROPERTIES
    IMPORTED_LOCATION ${copy}
    INTERFACE_INCLUDE_DIRECTORIES ${guarded_INCLUDE}
    INTERFACE_LINK_LIBRARIES "${guarded_GUARD};Threads::Threads")
endfunction()

# libpg-query-dev: PostgreSQL's own grammar. The static archive of Debian is position-independent.
find_path(PG_QUERY_INCLUDE_DIR pg_query.h REQUIRED)
find_library(PG_QUERY_ARCHIVE libpg_query.a REQUIRED)
gf_add_guarded_archive(pg_query ARCHIVE ${PG_QUERY_ARCHIVE} INCLUDE ${PG_QUERY_INCLUDE_DIR}
  CALLS pg_query_calls.txt GUARD gf_pg_query_guard)  # src/sql/pg_query_guard.cpp

# libhiredis-dev: the reader of Redis' protocol. The static archive of Debian is position-independent.
find_path(HIREDIS_INCLUDE_DIR hiredis/read.h REQUIRED)
find_library(HIREDIS_ARCHIVE libhiredis.a REQUIRED)
gf_add_guarded_archive(hiredis ARCHIVE ${HIREDIS_ARCHIVE} INCLUDE ${HIREDIS_INCLUDE_DIR}
  CALLS hiredis_calls.txt GUARD gf_hiredis_guard)  # src/redis/hiredis_guard.cpp

# libpq-dev: headers alone. The library is opened at run time, only for a PostgreSQL URL.
find_path(LIBPQ_INCLUDE_DIR libpq-fe.h PATH_SUFFIXES postgresql REQUIRED)
add_library(gf::libpq_headers INTERFACE IMPORTED)
target_include_directories(gf::libpq_headers SYSTEM INTERFACE ${LIBPQ_INCLUDE_DIR})

# libtomlplusplus-dev, header-only: the configuration file.
find_path(TOMLPLUSPLUS_INCLUDE_DIR toml++/toml.h REQUIRED)
add_library(gf::tomlplusplus INTERFACE IMPORTED)
target_include_directories(gf::tomlplusplus SYSTEM INTERFACE ${TOMLPLUSPLUS_INCLUDE_DIR})

if(GAMEFORGE_EXAMPLES)
  # libcli11-dev, header-only: the command.
  find_package(CLI11 REQUIRED)
endif()

if(GAMEFORGE_TESTS)
  # doctest-dev
  find_package(doctest REQUIRED)
  include(doctest)

  # python3-cffi, python3-pil, python3-numpy: the tests' Python is Debian's own, for which these packages are; another one
  # that comes first in PATH would make tests skip. -DPython3_EXECUTABLE= chooses.
  if(NOT Python3_EXECUTABLE AND EXISTS /usr/bin/python3)
    set(Python3_EXECUTABLE /usr/bin/python3 CACHE FILEPATH "Python that runs the tests' scripts")
  endif()
  find_package(Python3 REQUIRED COMPONENTS Interpreter)
endif()

if(GAMEFORGE_TORCH)
  include(GameForgeTorch)
endif()
