"""A soak"""
