# sluice_prelink(NAME LIBRARY): the static library LIBRARY, which has main(), with start-up files and the C and C++
# libraries as one relocatable object, in a static library NAME that carries it: the symbols NAME_prelinked,
# NAME_crtend and NAME_crtn and NAME_*_end (see Embed.S.in).
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
  foreach(file crt1.o crti.o crtbeginT.o crtend.o crtn.o)
    sluice_toolchain_file(${file} ${file})
  endforeach()
  set(archives)
  foreach(file libstdc++.a libpcre2-8.a libxxhash.a libm.a libgcc.a libgcc_eh.a libc.a)
    sluice_toolchain_file(path ${file})
    list(APPEND archives ${path})
  endforeach()
  set(prelinked ${CMAKE_CURRENT_BINARY_DIR}/${name}.prelinked.o)
  # Without --unique, sections that lld must take apart (.eh_frame) would be joined and their relocations lost.
  add_custom_command(OUTPUT ${prelinked}
    COMMAND ${SLUICE_LD_LLD} -r --unique -o ${prelinked} ${crt1.o} ${crti.o} ${crtbeginT.o}
            --whole-archive $<TARGET_FILE:${library}> --no-whole-archive --start-group ${archives} --end-group
    DEPENDS ${library} VERBATIM COMMENT "Prelinking ${library}")
  set(SYMBOL ${name})
  set(PRELINKED ${prelinked})
  set(CRTEND ${crtend.o})
  set(CRTN ${crtn.o})
  set(source ${CMAKE_CURRENT_BINARY_DIR}/${name}.S)
  configure_file(${SLUICE_PRELINK_DIR}/Embed.S.in ${source} @ONLY)
  set_source_files_properties(${source} PROPERTIES OBJECT_DEPENDS ${prelinked})
  add_library(${name} STATIC ${source})
endfunction()
