import unittest

from src.shelf import clamp_stock, count_cheap


class Tests(unittest.TestCase):
    def test_clamp_stock(self):
        self.assertEqual(clamp_stock(12, 1, 9), 9)
        self.assertEqual(clamp_stock(5, 1, 9), 5)

    def test_count_cheap(self):
        self.assertEqual(count_cheap([3, 8, 9], 5), 1)
