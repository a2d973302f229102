#!/usr/bin/env bash
# python-calamine 0.9.1, xlsxwriter 3.3.1, openpyxl 3.1.5
#
# What happens:   a cell that shows an error (#N/A, #DIV/0!) and a cell that is empty are read as the same: an empty text. Nothing
#                 tells a lookup that failed from an answer that nobody wrote.
# A likely guess: an error is told as such, as its text or as a value of its own; openpyxl gives its text.
# Seen:           calamine: ['ok', '', '', ''], openpyxl: ['ok', '#N/A', '#DIV/0!', None].
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet python-calamine==0.9.1 xlsxwriter==3.3.1 openpyxl==3.1.5
env/bin/python - <<'PY'
import openpyxl
import xlsxwriter
from python_calamine import load_workbook

with xlsxwriter.Workbook("a.xlsx") as book:
    sheet = book.add_worksheet("answers")
    sheet.write("A1", "ok")
    sheet.write_formula("B1", "=NA()", None, "#N/A")
    sheet.write_formula("C1", "=1/0", None, "#DIV/0!")
    sheet.write("E1", "end")
calamine = load_workbook("a.xlsx").get_sheet_by_name("answers").to_python()[0][:4]
other = [cell.value for cell in openpyxl.load_workbook("a.xlsx", data_only=True)["answers"][1]][:4]
print("calamine:", calamine, "openpyxl:", other)
assert calamine == ["ok", "", "", ""] and other == ["ok", "#N/A", "#DIV/0!", None]
PY
