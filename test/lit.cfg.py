# Configuration of the text tests: *.mlir and *.test. Paths come from lit.site.cfg.py, which CMake writes.
import os
import sys

sys.path.insert(0, os.path.dirname(__file__))
from checked_sh_test import CheckedShTest  # a module of its own: lit's workers must find the class by name

config.name = "Sluice"
config.test_format = CheckedShTest(execute_external=False)
config.suffixes = [".mlir", ".test"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = os.path.join(config.build_dir, "test")

config.environment["PATH"] = os.pathsep.join(
    [os.path.join(config.build_dir, "bin"), config.llvm_tools_dir, os.environ["PATH"]]
)
config.environment["FILECHECK_OPTS"] = "--enable-var-scope --dump-input=fail"
config.substitutions.append(("%python", config.python))
config.substitutions.append(("%plugins", os.path.join(config.build_dir, "test", "plugins")))
# Writes a small model with random weights; see the script for its options.
config.substitutions.append(("%tiny_model", f"{config.python} {config.test_source_root}/compiler/tiny_model.py"))
