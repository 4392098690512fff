import lit.Test
import lit.formats


class CheckedShTest(lit.formats.ShTest):
    """A test that has CHECK lines but never runs FileCheck tests nothing: that is an error."""

    def execute(self, test, litConfig):
        with open(test.getSourcePath(), encoding="utf-8") as file:
            lines = file.read().splitlines()
        runs = [line for line in lines if "RUN:" in line]
        checks = [line for line in lines if "CHECK" in line and ":" in line and line not in runs]
        if checks and not any("FileCheck" in line or "verify-diagnostics" in line for line in runs):
            return lit.Test.FAIL, "has CHECK lines, but no RUN line pipes into FileCheck"
        return super().execute(test, litConfig)
