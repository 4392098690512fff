# sluice_prelink(NAME LIBRARY [DYNAMIC]): the static library LIBRARY, which has main(), with start-up files and the C and
# C++ libraries as one relocatable object, in a static library NAME that carries it: the symbols NAME_prelinked,
# NAME_crtend, NAME_crtn, NAME_libc and NAME_libm and NAME_*_end. With DYNAMIC, the C library is the one of the machine
# that runs the program (LIBRARY must be position independent) and libc and libm are its shared libraries, to link
# against; otherwise these are empty.
set(SLUICE_PRELINK_DIR ${CMAKE_CURRENT_LIST_DIR})
find_program(SLUICE_LD_LLD NAMES ld.lld HINTS ${LLVM_TOOLS_BINARY_DIR} NO_DEFAULT_PATH REQUIRED)

# A file of the compiler's or of the system's, which `${CMAKE_CXX_COMPILER}` knows the place of.
function(sluice_toolchain_file variable name)
  execute_process(COMMAND ${CMAKE_CXX_COMPILER} -print-file-name=${name} OUTPUT_VARIABLE path OUTPUT_STRIP_TRAILING_WHITESPACE)
  if(NOT IS_ABSOLUTE "${path}")
    message(FATAL_ERROR "${CMAKE_CXX_COMPILER} has no ${name}: install the static C and C++ libraries, libpcre2-dev and libxxhash-dev")
  endif()
  set(${variable} ${path} PARENT_SCOPE)
endfunction()

function(sluice_prelink name library)
  cmake_parse_arguments(PARSE_ARGV 2 ARG "DYNAMIC" "" "")
  set(archive_names libstdc++.a libpcre2-8.a libxxhash.a libgcc.a libgcc_eh.a)
  if(ARG_DYNAMIC)
    set(start Scrt1.o crti.o crtbeginS.o)
    sluice_toolchain_file(CRTEND crtendS.o)
    sluice_toolchain_file(LIBC libc.so.6)
    sluice_toolchain_file(LIBM libm.so.6)
    list(APPEND archive_names libc_nonshared.a)
  else()
    set(start crt1.o crti.o crtbeginT.o)
    sluice_toolchain_file(CRTEND crtend.o)
    set(LIBC ${CMAKE_CURRENT_BINARY_DIR}/empty)
    set(LIBM ${LIBC})
    file(TOUCH ${LIBC})
    list(APPEND archive_names libm.a libc.a)
  endif()
  sluice_toolchain_file(CRTN crtn.o)
  set(starts)
  foreach(file IN LISTS start)
    sluice_toolchain_file(path ${file})
    list(APPEND starts ${path})
  endforeach()
  set(archives)
  foreach(file IN LISTS archive_names)
    sluice_toolchain_file(path ${file})
    list(APPEND archives ${path})
  endforeach()
  set(PRELINKED ${CMAKE_CURRENT_BINARY_DIR}/${name}.prelinked.o)
  # Without --unique, sections that lld must take apart (.eh_frame) would be joined and their relocations lost.
  add_custom_command(OUTPUT ${PRELINKED}
    COMMAND ${SLUICE_LD_LLD} -r --unique -o ${PRELINKED} ${starts}
            --whole-archive $<TARGET_FILE:${library}> --no-whole-archive --start-group ${archives} --end-group
    DEPENDS ${library} VERBATIM COMMENT "Prelinking ${library}")
  set(SYMBOL ${name})
  set(source ${CMAKE_CURRENT_BINARY_DIR}/${name}.S)
  configure_file(${SLUICE_PRELINK_DIR}/Embed.S.in ${source} @ONLY)
  set_source_files_properties(${source} PROPERTIES OBJECT_DEPENDS ${PRELINKED})
  add_library(${name} STATIC ${source})
endfunction()
