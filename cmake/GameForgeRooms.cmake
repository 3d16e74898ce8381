# One target a room; what a room links is all that it can include.

# gf_add_room(<room> [SOURCES <file>...] [LINKS <lower room>...] [PRIVATE_LINKS <library>...])
#
# Called in src/<room>/CMakeLists.txt. Each room gets an include root of its own with nothing in it but a link to the
# room, and hands it on with its links. With one root for all of src/, an include from above would compile, because
# headers need no linking.
function(gf_add_room room)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;LINKS;PRIVATE_LINKS")
  set(root ${PROJECT_BINARY_DIR}/rooms/${room})
  file(MAKE_DIRECTORY ${root})
  file(CREATE_LINK ${CMAKE_CURRENT_SOURCE_DIR} ${root}/${room} SYMBOLIC)

  add_library(gf_${room} STATIC ${arg_SOURCES})
  add_library(gf::${room} ALIAS gf_${room})
  target_include_directories(gf_${room} PUBLIC ${root})
  target_link_libraries(gf_${room} PUBLIC ${arg_LINKS} PRIVATE ${arg_PRIVATE_LINKS} gf::warnings)
  target_compile_features(gf_${room} PUBLIC cxx_std_20)
  set_target_properties(gf_${room} PROPERTIES
    POSITION_INDEPENDENT_CODE ON       # the rooms end up in libgameforge.so,
    C_VISIBILITY_PRESET hidden         # which exports the C ABI and nothing else
    CXX_VISIBILITY_PRESET hidden
    VISIBILITY_INLINES_HIDDEN ON)
endfunction()

# gf_add_unit_tests(<room> <file>...): one program a room, one file a source file, each test case a ctest case.
function(gf_add_unit_tests room)
  list(TRANSFORM ARGN PREPEND ${room}/)
  add_executable(gf_${room}_test main.cpp ${ARGN})
  target_link_libraries(gf_${room}_test PRIVATE gf::${room} gf::warnings doctest::doctest)
  doctest_discover_tests(gf_${room}_test TEST_PREFIX "${room}/" PROPERTIES LABELS unit)
endfunction()
