import numpy as np

from harness.data.rows import Rows

WHOLE = np.arange(40, dtype=np.uint8).reshape(10, 2, 2)
CHOSEN = np.array([7, 2, 9, 0])


def test_rows_are_those_of_a_copy():
    rows, copied = Rows(WHOLE, CHOSEN), WHOLE[CHOSEN]
    assert (rows.shape, rows.dtype, rows.nbytes, len(rows)) == (copied.shape, copied.dtype, copied.nbytes, len(copied))
    np.testing.assert_array_equal(rows, copied)
    np.testing.assert_array_equal(rows[np.array([3, 1])], copied[[3, 1]])
    np.testing.assert_array_equal(rows[1], copied[1])
    np.testing.assert_array_equal(list(rows), list(copied))
    np.testing.assert_array_equal(np.asarray(rows, np.float32), copied.astype(np.float32))


def test_some_in_a_row_are_read_when_they_are_asked_for():
    whole = WHOLE.copy()
    some = Rows(whole, CHOSEN)[1:3]
    whole[2] = 255
    assert some.nbytes == 8
    np.testing.assert_array_equal(some, [np.full((2, 2), 255), whole[9]])
