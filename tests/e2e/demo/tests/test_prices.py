import unittest

from src.prices import price_with_fee, cheapest, total_price


class Tests(unittest.TestCase):
    def test_price_with_fee(self):
        self.assertEqual(price_with_fee(200, 10), 220)

    def test_cheapest(self):
        self.assertEqual(cheapest(7, 4), 4)

    def test_total_price(self):
        self.assertEqual(total_price([3, 4, 5]), 12)
